//! Data behind a plot as a link that holds it: no script, no request.

use std::fmt::{Display, Write};

/// Most rows: more are thinned out, as they stand in the JSON, and a page must open on a
/// phone.
const MAX_ROWS: usize = 20_000;

/// Table of comma separated values.
#[derive(Clone, Debug, Default)]
pub struct Csv {
    /// File name without its extension.
    name: String,
    headings: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Csv {
    /// Makes a table with these columns.
    pub fn new(name: &str, headings: &[&str]) -> Csv {
        let headings = headings.iter().map(|heading| (*heading).to_owned()).collect();
        Csv { name: file_name(name), headings, rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, fields: [&dyn Display; N]) {
        self.rows.push(fields.map(|field| field.to_string()).to_vec());
    }

    /// Writes a link that saves the table.
    pub fn link(&self) -> String {
        let mut data = String::new();
        let every = self.rows.len().div_ceil(MAX_ROWS).max(1);
        line(&mut data, &self.headings);
        self.rows.iter().step_by(every).for_each(|row| line(&mut data, row));
        let note = if every > 1 { format!(" (1 of {every} rows)") } else { String::new() };
        let name = &self.name;
        format!(
            "<a class=\"csv\" download=\"{name}.csv\" href=\"data:text/csv;charset=utf-8,{data}\">\
             {name}.csv{note}</a>"
        )
    }
}

/// Returns letters and digits of any name.
fn file_name(name: &str) -> String {
    let mut safe = String::new();
    for letter in name.chars() {
        if letter.is_ascii_alphanumeric() {
            safe.push(letter.to_ascii_lowercase());
        } else if !safe.ends_with('-') {
            safe.push('-');
        }
    }
    safe.trim_matches('-').to_owned()
}

fn line(data: &mut String, fields: &[String]) {
    for (at, field) in fields.iter().enumerate() {
        if at > 0 {
            data.push(',');
        }
        encode(data, &quoted(field));
    }
    data.push_str("%0A");
}

/// Quotes a field; a text that a spreadsheet would take for a formula is told to be a
/// text.
fn quoted(field: &str) -> String {
    let is_number = field.parse::<f64>().is_ok();
    let guarded = match field.chars().next() {
        Some('=' | '+' | '-' | '@' | '\t' | '\r') if !is_number => format!("'{field}"),
        _ => field.to_owned(),
    };
    if guarded.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", guarded.replace('"', "\"\""));
    }
    guarded
}

/// Encodes a text as part of an address, inside an attribute.
fn encode(data: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._,/:()".contains(&byte) {
            data.push(char::from(byte));
        } else {
            let _ = write!(data, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_holds_the_rows_and_nothing_that_ends_it() {
        let mut csv = Csv::new("Delivered events/s", &["role", "value"]);
        csv.row([&"a\"b<c>, 'd'", &1.5]);
        let link = csv.link();
        assert!(link.contains("download=\"delivered-events-s.csv\""), "{link}");
        assert!(link.contains(",role,value%0A%22a%22%22b%3Cc%3E,%20%27d%27%22,1.5%0A\""), "{link}");
    }

    #[test]
    fn formulas_stay_texts_and_numbers_stay_numbers() {
        assert_eq!(quoted("=1+1"), "'=1+1");
        assert_eq!(quoted("-1.5"), "-1.5");
        assert_eq!(quoted("@a"), "'@a");
    }

    #[test]
    fn many_rows_are_thinned_out_and_the_link_says_so() {
        let mut csv = Csv::new("x", &["n"]);
        (0..MAX_ROWS * 2 + 1).for_each(|at| csv.row([&at]));
        let link = csv.link();
        assert!(link.contains("(1 of 3 rows)"));
        assert!(link.matches("%0A").count() <= MAX_ROWS + 1);
    }
}
