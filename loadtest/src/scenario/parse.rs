//! Parser of scenarios that fit together; errors name file and line.

use std::fmt;
use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

use super::{MAX_MACHINES, Machines, Scenario, check, shipped};

/// Reads a scenario: a shipped one by its name, else a file. Returns its text too.
///
/// # Errors
/// Which file, which line, and what is allowed there.
pub fn read(given: &str) -> Result<(Scenario, String)> {
    if let Some(text) = shipped::text(given) {
        return Ok((parse(given, text)?, text.to_owned()));
    }
    let path = Path::new(given);
    if !path.exists() && path.extension().is_none() {
        return Err(anyhow!(
            "there is no scenario {given}: give a file, or one of {}",
            shipped::known()
        ));
    }
    ensure!(!path.is_dir(), "{given} is a directory: give the file of a scenario");
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {given}"))?;
    Ok((parse(given, &text)?, text))
}

/// Reads a scenario out of a text; `name` is the file's, for errors.
pub fn parse(name: &str, text: &str) -> Result<Scenario> {
    let at = |span: Option<Range<usize>>, what: &str| {
        let line = span.map_or_else(String::new, |span| {
            let before = &text.as_bytes()[..span.start.min(text.len())];
            format!(", line {}", 1 + before.iter().filter(|&&byte| byte == b'\n').count())
        });
        anyhow!("{name}{line}: {}", what.replace('\n', "; "))
    };
    let scenario: Scenario =
        toml::from_str(text).map_err(|error| at(error.span(), error.message()))?;
    check::check(&scenario).map_err(|problem| at(problem.span, &problem.text))?;
    Ok(scenario)
}

impl Default for Machines {
    fn default() -> Machines {
        Machines::numbered(1)
    }
}

impl Machines {
    /// Names so many machines m1, m2 and so on.
    pub fn numbered(count: usize) -> Machines {
        Machines((1..=count).map(|number| format!("m{number}")).collect())
    }
}

impl<'de> Deserialize<'de> for Machines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Machines, D::Error> {
        struct CountOrNames;
        impl<'de> Visitor<'de> for CountOrNames {
            type Value = Machines;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "from 1 to {MAX_MACHINES} machines, as a number or a list of names")
            }

            fn visit_i64<E: Error>(self, count: i64) -> Result<Machines, E> {
                let is_sane = |count: &usize| (1..=MAX_MACHINES).contains(count);
                let count = usize::try_from(count).ok().filter(is_sane);
                let wrong = || E::custom(format_args!("from 1 to {MAX_MACHINES} machines"));
                Ok(Machines::numbered(count.ok_or_else(wrong)?))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Machines, A::Error> {
                let mut names: Vec<String> = Vec::new();
                while let Some(name) = list.next_element::<String>()? {
                    let letter = |c: char| c.is_ascii_alphanumeric() || c == '-';
                    if name.is_empty() || !name.chars().all(letter) {
                        let text =
                            format!("{name:?}: a machine's name is of letters, digits and -");
                        return Err(A::Error::custom(text));
                    }
                    if names.contains(&name) {
                        return Err(A::Error::custom(format!("{name} is there twice")));
                    }
                    names.push(name);
                }
                if !(1..=MAX_MACHINES).contains(&names.len()) {
                    return Err(A::Error::custom(format!("from 1 to {MAX_MACHINES} machines")));
                }
                Ok(Machines(names))
            }
        }
        deserializer.deserialize_any(CountOrNames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "name = \"x\"\n";
    const EMITTERS: &str = "[[emitters]]\nname = \"e\"\nevents = \"a\"\nrate = 10\n";
    const LISTENERS: &str = "[[listeners]]\nname = \"l\"\npatterns = \"a\"\n";

    fn error(text: &str) -> String {
        parse("f.toml", text).expect_err(text).to_string()
    }

    #[test]
    fn a_small_scenario_has_defaults() {
        let text = [HEAD, EMITTERS, LISTENERS].concat();
        let scenario = parse("f.toml", &text).unwrap();
        assert_eq!(scenario.machines.0, ["m1"]);
        assert_eq!(scenario.offered_per_s(), Some(10.0));
        assert_eq!(scenario.phases().len(), 2);
        assert!((scenario.total_seconds() - 11.0).abs() < 1e-9);
    }

    #[test]
    fn stretching_moves_everything() {
        let fault = "[[fault]]\nkind = \"restart-broker\"\nmachine = \"m1\"\nat-s = 5\nfor-s = 1\n";
        let text = [HEAD, EMITTERS, LISTENERS, fault].concat();
        let mut scenario = parse("f.toml", &text).unwrap();
        scenario.stretch(1.0);
        assert!((scenario.measured_seconds() - 1.0).abs() < 1e-9);
        assert!((scenario.warm_up - 0.1).abs() < 1e-9);
        assert!((scenario.faults[0].get_ref().at_s - 0.5).abs() < 1e-9);
    }

    #[test]
    fn errors_name_the_file_the_line_and_what_is_allowed() {
        let emitters = |line: &str| [HEAD, "[[emitters]]\n", line, "\n"].concat();
        let both = |more: &str| [HEAD, EMITTERS, more, "\n", LISTENERS].concat();
        for (text, line, words) in [
            ("nam = \"x\"\n".to_owned(), 1, "nam"),
            (emitters("rate = 0"), 3, "events per second"),
            (emitters("rate = \"fast\""), 3, "\"max\""),
            (emitters("size = 3"), 3, "from 24"),
            (emitters("size = { gauss = 3 }"), 3, "uniform"),
            (emitters("size = { log-normal = { median = 99, sigma = 1, max = 50 } }"), 3, "max"),
            (emitters("events = \"a.{klient}\""), 3, "{client}"),
            (emitters("arrivals = \"random\""), 3, "poisson"),
            ([HEAD, "machines = 0\n"].concat(), 2, "machines"),
            ([HEAD, "seconds = 0\n"].concat(), 2, "seconds"),
            (both("on = [\"m7\"]"), 6, "m1"),
            (both("clients = 0"), 6, "clients"),
            (both("clients = 2\nprocesses = 3"), 7, "processes"),
            (both("round-trip = true"), 2, "replies"),
            (both("clients = 4096\nsize = 1048576"), 2, "payloads on a machine"),
            (both("events = [\"a b\"]").replacen("events = \"a\"\n", "", 1), 2, "a b"),
            ([HEAD, LISTENERS].concat(), 1, "nobody emits"),
            ([HEAD, "[network]\nrate-mbit = 0\n"].concat(), 3, "nonzero"),
            ([HEAD, "[network]\nloss-percent = 0.01\n"].concat(), 3, "0.1"),
            (both("clients = 4096").replace("\"a\"", "\"a{0..60000}\""), 0, "at most 1048576"),
        ] {
            let error = error(&text);
            let place = format!("f.toml, line {line}: ");
            // A check of the whole names the table, or no line at all.
            assert!(error.starts_with(&place) || error.starts_with("f.toml"), "{text}: {error}");
            assert!(error.contains(words), "{text}: {error}");
        }
        assert!(error(&emitters("rate = 0")).starts_with("f.toml, line 3: "));
        assert!(error(&both("on = [\"m7\"]")).starts_with("f.toml, line 2: "));
    }
}
