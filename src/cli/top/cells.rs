//! Columns, rows and cells of a table that can be sorted.
//!
//! Invariant: texts of others come in by [`Cell::text`], which escapes them.

use std::cmp::Ordering;

use crate::cli::clients::By;
use crate::cli::render::escaped;
use crate::cli::status::bytes;

/// A column.
#[derive(Debug)]
pub struct Column {
    /// Title.
    pub title: &'static str,
    /// Width in characters; 0 shares what is left.
    pub chars: u16,
    /// Rank by which columns go when there is no room: the highest first, 0 never.
    pub rank: u8,
    /// Order in which the broker chooses the clients that it lists, if it is sorted by this.
    pub by: Option<By>,
}

impl Column {
    /// A column of this title and width that is left out by this rank.
    pub const fn new(title: &'static str, chars: u16, rank: u8) -> Column {
        Column { title, chars, rank, by: None }
    }

    /// Makes it a column by which the broker can choose.
    pub const fn by(self, by: By) -> Column {
        Column { by: Some(by), ..self }
    }

    /// Returns the name by which `--sort` knows it.
    pub fn name(&self) -> String {
        self.title.trim_end_matches("/s").to_lowercase()
    }
}

/// Key that a cell is sorted by.
#[derive(Debug, PartialEq)]
enum Key {
    Text(String),
    Number(f64),
    /// Not known, which is less than all that is.
    None,
}

/// A cell.
#[derive(Debug)]
pub struct Cell {
    /// Text that is shown; nothing in it controls a terminal.
    pub text: String,
    key: Key,
}

impl Cell {
    /// Text that others may have chosen; `-` for none.
    pub fn text(text: &str) -> Cell {
        let text = if text.is_empty() { "-".to_owned() } else { escaped(text) };
        Cell { key: Key::Text(text.to_lowercase()), text }
    }

    /// A number that is a name.
    pub fn id(number: u64) -> Cell {
        Cell { text: number.to_string(), key: Key::Number(number as f64) }
    }

    /// A number of things.
    pub fn count(number: u64) -> Cell {
        let text = if number < 10 { number.to_string() } else { short(number as f64) };
        Cell { text, key: Key::Number(number as f64) }
    }

    /// Bytes.
    pub fn bytes(number: u64) -> Cell {
        Cell { text: bytes(number), key: Key::Number(number as f64) }
    }

    /// Things per second; `-` if that is not known.
    pub fn rate(rate: Option<f64>) -> Cell {
        Cell::shown(rate, short)
    }

    /// A number that is shown in its own way; `-` if it is not known.
    pub fn shown(number: Option<f64>, show: impl Fn(f64) -> String) -> Cell {
        match number {
            Some(number) => Cell { text: show(number), key: Key::Number(number) },
            None => Cell { text: "-".to_owned(), key: Key::None },
        }
    }

    /// Returns whether the column of such cells is flush right.
    pub fn is_number(&self) -> bool {
        !matches!(self.key, Key::Text(_))
    }

    /// Compares what two cells are sorted by.
    pub fn order(&self, other: &Cell) -> Ordering {
        match (&self.key, &other.key) {
            (Key::Text(one), Key::Text(other)) => one.cmp(other),
            (Key::Number(one), Key::Number(other)) => one.total_cmp(other),
            (Key::None, Key::None) => Ordering::Equal,
            (Key::None, _) => Ordering::Less,
            (_, Key::None) => Ordering::Greater,
            (Key::Number(_), Key::Text(_)) => Ordering::Less,
            (Key::Text(_), Key::Number(_)) => Ordering::Greater,
        }
    }
}

/// Whether a row is as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Nothing to say.
    Calm,
    /// Something waits.
    Warned,
    /// Something is wrong.
    Bad,
}

/// A row.
#[derive(Debug)]
pub struct Row {
    /// A cell for each column.
    pub cells: Vec<Cell>,
    /// Whether it is as it should be.
    pub mood: Mood,
}

impl Row {
    /// Returns whether a text is in one of the cells, in capitals or not.
    pub fn has(&self, lowercase: &str) -> bool {
        self.cells.iter().any(|cell| cell.text.to_lowercase().contains(lowercase))
    }
}

/// Rows, and how many more there are.
#[derive(Debug, Default)]
pub struct Rows {
    /// The rows.
    pub rows: Vec<Row>,
    /// Number of those that the broker did not list.
    pub omitted: u64,
}

/// `1234`, `12.3k`, `4.56M`.
pub fn short(value: f64) -> String {
    match value {
        value if value >= 999.5e9 => format!("{:.1}T", value / 1e12),
        value if value >= 999.5e6 => format!("{:.2}G", value / 1e9),
        value if value >= 999.5e3 => format!("{:.2}M", value / 1e6),
        value if value >= 9999.5 => format!("{:.1}k", value / 1e3),
        value if value >= 9.95 || value == 0.0 => format!("{value:.0}"),
        value => format!("{value:.1}"),
    }
}
