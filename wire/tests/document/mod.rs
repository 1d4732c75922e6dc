//! `PROTOCOL.md` as its tests read it: blocks and tables.

use std::collections::{BTreeMap, BTreeSet};

use netcluster_wire::Kind;

const DOCUMENT: &str = include_str!("../../../PROTOCOL.md");

/// A fenced block: the words behind the backticks, and its lines.
pub struct Block {
    pub heading: Vec<&'static str>,
    pub lines: Vec<&'static str>,
    /// For messages.
    pub line_number: usize,
}

pub fn blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (at, line) in DOCUMENT.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(heading)) => {
                let heading = heading.split_whitespace().collect();
                open = Some(Block { heading, lines: Vec::new(), line_number: at + 1 });
            }
            (Some(_), Some("")) => blocks.extend(open.take()),
            (Some(block), _) => block.lines.push(line),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "an unclosed block");
    blocks
}

impl Block {
    /// The bytes below `bytes:`, without comments.
    pub fn bytes(&self) -> Vec<u8> {
        let lines = self.lines.iter().skip_while(|line| **line != "bytes:").skip(1);
        lines
            .flat_map(|line| line.split('#').next().unwrap_or_default().split_whitespace())
            .map(|byte| u8::from_str_radix(byte, 16).expect("a byte in hexadecimal"))
            .collect()
    }
}

pub fn number(text: &str) -> u64 {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    }
    .unwrap_or_else(|_| panic!("a number: {text}"))
}

pub fn yes(text: &str) -> bool {
    match text {
        "yes" => true,
        "no" => false,
        other => panic!("yes or no: {other}"),
    }
}

pub fn kind(name: &str) -> Kind {
    let kinds = (0..=u8::MAX).filter_map(Kind::from_byte);
    let spelled = |kind: &Kind| format!("{kind:?}").to_lowercase() == name;
    kinds.into_iter().find(spelled).unwrap_or_else(|| panic!("a kind: {name}"))
}

/// The rows of the table under a heading: cells without backticks.
pub fn table(heading: &str, columns: &str) -> Vec<Vec<String>> {
    let (_, section) = DOCUMENT.split_once(&format!("\n{heading}\n")).expect(heading);
    let rows = section.lines().skip_while(|line| *line != columns).skip(2);
    let rows: Vec<Vec<String>> = rows
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            line.trim_matches('|').split(" |").map(|cell| cell.trim().replace('`', "")).collect()
        })
        .collect();
    assert!(!rows.is_empty(), "{heading}: a table");
    rows
}

/// The limits of a file, by their names, with a table of the document.
pub fn compare_limits(heading: &str, file: &str, values: &BTreeMap<&str, u64>) {
    let in_code: BTreeSet<&str> = file
        .lines()
        .filter_map(|line| line.strip_prefix("pub const "))
        .filter(|line| !line.starts_with("fn "))
        .filter_map(|line| line.split(':').next())
        .collect();
    assert_eq!(in_code, values.keys().copied().collect(), "the file has other names");
    let rows = table(heading, "| limit | value | of what |");
    let in_document: BTreeMap<&str, u64> =
        rows.iter().map(|row| (row[0].as_str(), number(&row[1]))).collect();
    assert_eq!(&in_document, values);
}
