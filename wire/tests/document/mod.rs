//! `PROTOCOL.md` as its tests read it.

use std::collections::{BTreeMap, BTreeSet};

use netcluster_testkit::document::{Document, number};
use netcluster_wire::Kind;

pub const PROTOCOL: Document = Document(include_str!("../../../PROTOCOL.md"));

pub fn kind(name: &str) -> Kind {
    let kinds = (0..=u8::MAX).filter_map(Kind::from_byte);
    let spelled = |kind: &Kind| format!("{kind:?}").to_lowercase() == name;
    kinds.into_iter().find(spelled).unwrap_or_else(|| panic!("a kind: {name}"))
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
    let rows = PROTOCOL.table(heading, "| limit | value | of what |");
    let in_document: BTreeMap<&str, u64> =
        rows.iter().map(|row| (row[0].as_str(), number(&row[1]))).collect();
    assert_eq!(&in_document, values);
}
