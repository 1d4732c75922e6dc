//! Aligned columns of text.

use std::fmt;

/// A table: a head and rows of as many cells.
#[derive(Debug)]
pub struct Table {
    /// Title, and whether it is flush right (numbers).
    columns: Vec<(&'static str, bool)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Columns by title; those that begin with `>` are flush right.
    pub fn new(titles: &[&'static str]) -> Table {
        let column = |title: &&'static str| match title.strip_prefix('>') {
            Some(title) => (title, true),
            None => (*title, false),
        };
        Table { columns: titles.iter().map(column).collect(), rows: Vec::new() }
    }

    /// Appends a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        assert_eq!(N, self.columns.len(), "a cell for each column");
        self.rows.push(cells.into());
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([self.columns[column].0.len()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let head: Vec<String> = self.columns.iter().map(|(title, _)| (*title).to_owned()).collect();
        for row in [&head].into_iter().chain(&self.rows) {
            let mut line = String::new();
            for ((cell, width), (_, right)) in row.iter().zip(&widths).zip(&self.columns) {
                let padding = " ".repeat(width - cell.chars().count());
                let (before, after) =
                    if *right { (padding, String::new()) } else { (String::new(), padding) };
                line.extend([&before, cell, &after, "  "]);
            }
            writeln!(formatter, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_whatever_their_cells() {
        let mut table = Table::new(&["NAME", ">N", "STATE"]);
        assert!(table.is_empty());
        table.row(["grün".into(), "1000".into(), "open".into()]);
        table.row(["longer".into(), "1".into(), String::new()]);
        let expected = "NAME       N  STATE\ngrün    1000  open\nlonger     1\n";
        assert_eq!(table.to_string(), expected);
    }
}
