//! Report of a result as one HTML file that anybody can open.
//!
//! ```text
//!   ResultFile ─┬─ run: answer, tiles, plots (series, latency, capacity), tables ─┐
//!               └─ compare: table of medians, bars with whiskers ─────────┤
//!                                        style.css, hover.js ── page ◄────┘
//! ```
//! Plots are drawn here, as SVG: they need no script. The script only shows values under
//! the pointer. The page asks for nothing over a network, and its content security policy
//! forbids it; the policy names the one script and the one style by their hashes, so that
//! a text of the result could not run even if its escaping failed. Nothing here measures
//! or judges.

pub(crate) mod answer;
mod axis;
mod bars;
pub(crate) mod capacity;
mod compare;
mod csv;
mod draw;
mod histogram;
pub(crate) mod html;
mod latency;
mod plot;
mod run;
mod series;
mod tables;
mod units;

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use base64::prelude::{BASE64_STANDARD, Engine};
use ring::digest::{SHA256, digest};

use crate::result::{MachineInfo, ResultFile};
use html::escape;

const STYLE: &str = include_str!("report/style.css");
const SCRIPT: &str = include_str!("report/hover.js");

pub(crate) use units::Unit;

/// Writes the report of a result.
///
/// # Errors
/// If the file cannot be written.
pub fn write(result: &ResultFile, path: &Path) -> Result<()> {
    fs::write(path, html(result)).with_context(|| format!("cannot write {}", path.display()))
}

/// Returns the report of a result.
pub fn html(result: &ResultFile) -> String {
    match result {
        ResultFile::Run(run) => page(&run.scenario.name, &run::body(run)),
        ResultFile::Compare(compare) => page("Comparison of brokers", &compare::body(compare)),
    }
}

fn page(title: &str, body: &str) -> String {
    let (style_hash, script_hash) = (hash(STYLE), hash(SCRIPT));
    let title = escape(title);
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         img-src data:; style-src '{style_hash}'; script-src '{script_hash}'; base-uri 'none'; \
         form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title} – netcluster-loadtest</title>\n<link rel=\"icon\" href=\"data:,\">\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\
         <footer>Made by netcluster-loadtest {version}.</footer>\n</main>\n\
         <script>{SCRIPT}</script>\n</body>\n</html>\n"
    )
}

/// Writes the heading of both kinds.
fn header(
    out: &mut String,
    (title, answer): (&str, Option<String>),
    about: &[String],
    complete: bool,
    notes: &[String],
) {
    let _ = writeln!(out, "<header><h1>{}</h1>", escape(title));
    if let Some(answer) = answer {
        let _ = writeln!(out, "<p class=\"answer\">{}</p>", escape(&answer));
    }
    let _ = writeln!(out, "<p>{}</p>", escape(&about.join(" · ")));
    if !complete || !notes.is_empty() {
        out.push_str("<div class=\"notes\" role=\"note\">");
        if !complete {
            out.push_str("<p><strong>Not complete.</strong> These are partial results.</p>");
        }
        for note in notes {
            let _ = write!(out, "<p>{}</p>", escape(note));
        }
        out.push_str("</div>\n");
    }
    out.push_str("</header>\n");
}

fn versions(machine: &MachineInfo) -> String {
    let each = machine.versions.iter().map(|(program, version)| format!("{program} {version}"));
    each.collect::<Vec<_>>().join(", ")
}

/// Returns the hash by which content security policies name a text.
fn hash(text: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(digest(&SHA256, text.as_bytes())))
}

/// Returns a moment in words, without a time zone's help.
fn date(unix_ms: u64) -> String {
    let seconds = unix_ms / 1000;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Eras of 400 years from the 1st of March of year 0: leap days come last.
    let from_march = days + 719_468;
    let (era, day) = (from_march / 146_097, from_march % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year + era * 400 + later;
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year}-{month:02}-{of_month:02} {hour:02}:{minute:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(951_782_400_000), "2000-02-29 00:00 UTC");
        assert_eq!(date(1_735_689_599_000), "2024-12-31 23:59 UTC");
        assert!(date(u64::MAX).ends_with("UTC"));
    }
}
