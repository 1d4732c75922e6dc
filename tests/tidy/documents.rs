//! House rules for documents: links that lead somewhere, a README that is read, and
//! decisions that are recorded whole and named by the code that carries them out.

use std::collections::BTreeSet;
use std::path::Path;

use super::{assert_none, root, sources, texts};

/// Longest README, in lines: somebody reads it who does not know the project yet.
const MAX_README_LINES: usize = 150;

/// Directory of the decisions.
const DECISIONS: &str = "docs/decisions/";

/// Parts of each record, in this order.
const PARTS: [&str; 4] = ["\nDate: ", "\n## Context\n", "\n## Decision\n", "\n## Consequence\n"];

fn documents() -> Vec<(String, String)> {
    texts(|name| name.ends_with(".md"))
}

/// Returns the records, without their index.
fn decisions() -> Vec<(String, String)> {
    let is_record = |name: &String| name.starts_with(DECISIONS) && !name.ends_with("/README.md");
    documents().into_iter().filter(|(name, _)| is_record(name)).collect()
}

/// Returns the lines of a document that are no code.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(at, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        (!in_code && !is_fence).then_some((at + 1, line))
    })
}

/// Finds the targets of the links in a line.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0))
}

/// Returns the name by which a heading is linked to, made as GitHub does.
fn anchor(heading: &str) -> String {
    let kept = |letter: &char| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_');
    let lower = heading.to_lowercase();
    lower.chars().filter(kept).map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let headings =
        prose(text).filter_map(|(_, line)| line.trim_start_matches('#').strip_prefix(' '));
    headings.map(|heading| anchor(heading.trim())).collect()
}

#[test]
fn links_in_documents_lead_somewhere() {
    let mut findings = Vec::new();
    let mut checked = 0;
    for (name, text) in documents() {
        let directory = Path::new(&name).parent().unwrap_or(Path::new(""));
        for (line, target) in
            prose(&text).flat_map(|(at, line)| links(line).map(move |it| (at, it)))
        {
            if target.contains("://") {
                continue;
            }
            checked += 1;
            let (file, place) = target.split_once('#').unwrap_or((target, ""));
            let path = match file {
                "" => root().join(&name),
                file => root().join(directory).join(file),
            };
            let is_there = match std::fs::read_to_string(&path) {
                Ok(there) => place.is_empty() || anchors(&there).contains(place),
                Err(_) => path.is_dir() && place.is_empty(),
            };
            if !is_there {
                findings.push(format!("{name}:{line}: {target}"));
            }
        }
    }
    assert!(checked > 100, "links are found: {checked}");
    assert_none(&findings, "a link leads to a file, and to a heading that is in it");
}

#[test]
fn the_readme_is_short() {
    let text = std::fs::read_to_string(root().join("README.md")).expect("it is there");
    let lines = text.lines().count();
    assert!(lines <= MAX_README_LINES, "README.md: {lines} lines, at most {MAX_README_LINES}");
}

#[test]
fn each_decision_has_its_number_date_context_and_consequence() {
    let mut findings = Vec::new();
    let mut numbers = BTreeSet::new();
    for (name, text) in &decisions() {
        // Numbers are given out before their records are there: some may be missing.
        let number = name.trim_start_matches(DECISIONS).split('-').next().unwrap_or_default();
        let is_number = number.len() == 3 && number.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number || !text.starts_with(&format!("# {number}: ")) {
            findings.push(format!("{name}: a number of three digits, the same in the title"));
        }
        if !numbers.insert(number.to_owned()) {
            findings.push(format!("{name}: another decision has the number {number}"));
        }
        let mut rest = text.as_str();
        for part in PARTS {
            match rest.split_once(part) {
                Some((_, behind)) => rest = behind,
                None => findings.push(format!("{name}: no `{}`", part.trim())),
            }
        }
    }
    assert_none(&findings, "a decision has a number, a date, a context, a decision, a consequence");
}

#[test]
fn each_decision_is_listed_and_named_by_the_code_that_carries_it_out() {
    let read = |name: &str| std::fs::read_to_string(root().join(name)).expect("it is there");
    let lists = ["docs/decisions/README.md", "ARCHITECTURE.md"].map(|name| (name, read(name)));
    let mut named = BTreeSet::new();
    let mut findings = Vec::new();
    let records: BTreeSet<String> = decisions()
        .into_iter()
        .map(|(name, _)| name.trim_start_matches(DECISIONS).into())
        .collect();
    for (source, text) in sources() {
        for line in text.lines().take_while(|line| line.starts_with("//!")) {
            let words = line.split('`').map(|word| word.trim_start_matches(DECISIONS));
            for word in words.filter(|word| is_record_name(word)) {
                if !records.contains(word) {
                    findings.push(format!("{source}: there is no {word}"));
                }
                named.insert(word.to_owned());
            }
        }
    }
    for record in &records {
        if !named.contains(record) {
            findings.push(format!("{record}: no module names it"));
        }
        for (list, text) in &lists {
            if !text.contains(&format!("{record})")) {
                findings.push(format!("{record}: {list} does not link to it"));
            }
        }
    }
    assert_none(&findings, "a decision and the code that carries it out name each other");
}

/// Returns whether a word looks like `012-name.md`.
fn is_record_name(word: &str) -> bool {
    let number = word.split('-').next().unwrap_or_default();
    number.len() == 3 && number.bytes().all(|byte| byte.is_ascii_digit()) && word.ends_with(".md")
}
