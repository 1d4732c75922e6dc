//! House rules for words and shapes of code: one spelling, constants where a reader looks
//! for them.

use super::{assert_none, code, sources, texts};

/// Beginnings of words as Americans spell them; the project writes British English.
const AMERICAN: [&str; 38] = [
    "acknowledgment",
    "analyz",
    "artifact",
    "authoriz",
    "behavior",
    "canceled",
    "canceling",
    "capitaliz",
    "categoriz",
    "center",
    "color",
    "customiz",
    "defense",
    "favor",
    "fiber",
    "fulfill",
    "generaliz",
    "gray",
    "honor",
    "initializ",
    "judgment",
    "labeled",
    "labeling",
    "labor",
    "maximiz",
    "minimiz",
    "modeled",
    "neighbor",
    "normaliz",
    "optimiz",
    "organiz",
    "prioritiz",
    "recogniz",
    "signaled",
    "summariz",
    "synchroniz",
    "traveled",
    "utiliz",
];

/// Names that others have given: they are left out of a line before it is looked at.
const FOREIGN: [&str; 6] = [
    "no_color",
    "no-color.org",
    "color-scheme",
    "security::authorization",
    "systemd-analyze",
    "fuzz/artifacts",
];

/// Files that name them on purpose.
const SPELLING_FILES: [&str; 2] = ["tests/tidy/wording.rs", "tests/tidy.rs"];

/// Trees whose code has the shape that the rules below ask for.
const SHAPED: [&str; 10] = [
    "benches/",
    "client/",
    "fuzz/",
    "link/",
    "loadtest/",
    "platform/",
    "src/",
    "testkit/",
    "tests/",
    "wire/",
];

/// Trees whose doc comments begin with their subject.
const SUBJECTS: [&str; 12] = [
    "benches/",
    "client/",
    "fuzz/",
    "link/",
    "loadtest/",
    "peers/",
    "platform/src/",
    "shm/",
    "src/",
    "testkit/",
    "tests/",
    "wire/src/",
];

/// Trees whose points in time are of a type of their own, [`netcluster_platform::Instant`].
const TIMED: [&str; 5] = ["benches/", "fuzz/src/", "link/", "platform/src/", "src/"];

/// Names of points in time that are numbers. A span's name ends in `_ns` as well, and says
/// how long something takes.
const NUMBERED_POINTS: [&str; 6] =
    ["deadline_ns", "due_ns", "next_ns", "now_ns", "since_ns", "until_ns"];

/// Words that withhold the subject of a doc comment, at its beginning.
const WITHHOLDING: [&str; 17] = [
    "What", "Who", "Whom", "Whose", "Why", "How", "Where", "When", "It", "Its", "They", "As", "Of",
    "From", "By", "See", "The same",
];

/// Starts of what stands behind the constants of a file.
const ITEMS: [&str; 6] = ["fn", "struct", "enum", "impl", "trait", "union"];

/// Returns a line without what may stand before the word that says what an item is.
fn bare(line: &str) -> &str {
    let mut rest = line;
    loop {
        let next = match rest.strip_prefix("pub") {
            Some(public) if public.starts_with('(') => public.split_once(") ").map(|(_, it)| it),
            Some(public) => public.strip_prefix(' '),
            None => ["unsafe ", "async ", "const fn"]
                .iter()
                .find(|word| rest.starts_with(*word))
                .map(|word| &rest[if *word == "const fn" { 6 } else { word.len() }..]),
        };
        match next {
            Some(next) => rest = next,
            None => return rest,
        }
    }
}

fn is_item(line: &str) -> bool {
    let first = bare(line).split([' ', '<']).next().unwrap_or_default();
    ITEMS.contains(&first)
}

fn shaped() -> Vec<(String, String)> {
    let is_shaped = |name: &str| SHAPED.iter().any(|tree| name.starts_with(tree));
    sources().into_iter().filter(|(name, _)| is_shaped(name)).collect()
}

#[test]
fn words_are_spelled_in_one_way() {
    let mut findings = Vec::new();
    let is_text = |name: &str| {
        [".rs", ".md"].iter().any(|end| name.ends_with(end)) && !SPELLING_FILES.contains(&name)
    };
    for (name, text) in texts(is_text) {
        for (at, line) in text.lines().enumerate() {
            let mut line = line.to_lowercase();
            for foreign in FOREIGN {
                line = line.replace(foreign, "");
            }
            for word in AMERICAN {
                let begins = |&(place, _): &(usize, &str)| {
                    !line[..place].ends_with(|letter: char| letter.is_alphabetic())
                };
                if line.match_indices(word).any(|found| begins(&found)) {
                    findings.push(format!("{name}:{}: {word}…", at + 1));
                }
            }
        }
    }
    assert_none(&findings, "British spelling, but in names that others have given");
}

#[test]
fn constants_stand_at_the_top_of_their_file() {
    let mut findings = Vec::new();
    for (name, text) in shaped() {
        let mut is_behind = false;
        for (line, code) in code(&text) {
            if code.starts_with("#[cfg(test)]") || code.starts_with("mod tests") {
                break;
            }
            is_behind |= is_item(code);
            let rest = bare(code).strip_prefix("const ");
            // An assertion about an item, `const _`, stands beside it.
            if is_behind && rest.is_some_and(|rest| !rest.starts_with('_')) {
                findings.push(format!("{name}:{line}: {}", code.trim()));
            }
        }
    }
    assert_none(&findings, "constants stand before functions and types");
}

#[test]
fn a_choice_by_a_bool_is_an_if() {
    let mut findings = Vec::new();
    for (name, text) in shaped() {
        for (line, code) in code(&text) {
            if ["true =>", "false =>"].iter().any(|arm| code.trim_start().starts_with(arm)) {
                findings.push(format!("{name}:{line}: {}", code.trim()));
            }
        }
    }
    assert_none(&findings, "`if` and `else` rather than `match` with `true` and `false`");
}

#[test]
fn points_in_time_are_no_numbers() {
    let mut findings = Vec::new();
    let is_timed = |name: &str| TIMED.iter().any(|tree| name.starts_with(tree));
    for (name, text) in sources().into_iter().filter(|(name, _)| is_timed(name)) {
        for (line, code) in code(&text) {
            let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
            if code.split(|letter| !is_name(letter)).any(|word| NUMBERED_POINTS.contains(&word)) {
                findings.push(format!("{name}:{line}: {}", code.trim()));
            }
        }
    }
    assert_none(&findings, "a point in time is an `Instant`, a span nanoseconds");
}

/// Returns whether a doc comment withholds its subject. Help of the command line, which
/// has no full stop, is none; what a test says that broke is enough.
fn withholds(comment: &str) -> bool {
    let begins = |word: &&str| {
        comment.strip_prefix(*word).is_some_and(|rest| rest.starts_with([' ', '.', ',']))
    };
    comment.ends_with(['.', ':'])
        && !comment.starts_with("What broke: ")
        && WITHHOLDING.iter().any(begins)
}

#[test]
fn doc_comments_begin_with_their_subject() {
    let mut findings = Vec::new();
    let is_read = |name: &str| SUBJECTS.iter().any(|tree| name.starts_with(tree));
    for (name, text) in sources().into_iter().filter(|(name, _)| is_read(name)) {
        let mut comment = String::new();
        for (at, line) in text.lines().map(str::trim).enumerate() {
            let words = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
            if let Some(words) = words {
                comment.push_str(words);
                continue;
            }
            if withholds(comment.trim()) {
                findings.push(format!("{name}, above line {}: {}", at + 1, comment.trim()));
            }
            comment.clear();
        }
    }
    assert_none(&findings, "a doc comment begins with a noun or a verb that names its subject");
}
