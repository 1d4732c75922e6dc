//! Aligned columns of text.

use std::iter;

use super::page::wrapped;

/// Width of the space between columns.
const GAP: usize = 2;

/// Indentation of the lines that a folded row goes on in.
const INDENT: usize = 2;

/// Narrowest width that a column of texts is squeezed to.
const MIN_TEXT_CHARS: usize = 16;

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

impl Table {
    /// Writes the table in lines of at most so many characters. Where its rows are wider
    /// they are folded, the head like the rest: columns go on in further, indented lines,
    /// and long texts below themselves.
    pub fn fit(&self, width: usize) -> String {
        let head: Vec<String> = self.columns.iter().map(|(title, _)| (*title).to_owned()).collect();
        let folds = self.fold(width);
        let mut page = String::new();
        for row in [&head].into_iter().chain(&self.rows) {
            for (fold, indent) in folds.iter().zip(iter::once(0).chain(iter::repeat(INDENT))) {
                self.write(row, fold, indent, &mut page);
            }
        }
        page
    }

    /// Shares the columns out over lines, each with the width that it gets.
    fn fold(&self, width: usize) -> Vec<Vec<(usize, usize)>> {
        let mut folds = vec![Vec::new()];
        let mut used = 0;
        for (column, (title, is_number)) in self.columns.iter().enumerate() {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            let wanted = cells.chain([title.len()]).max().unwrap_or(0);
            let room = width - used;
            if wanted <= room {
                used += wanted;
                folds.last_mut().expect("there is one").push((column, wanted));
            } else if !is_number && room >= MIN_TEXT_CHARS {
                used = width;
                folds.last_mut().expect("there is one").push((column, room));
            } else {
                let chars = wanted.min(width - INDENT);
                used = INDENT + chars;
                folds.push(vec![(column, chars)]);
            }
            used = width.min(used + GAP);
        }
        folds
    }

    /// Writes those columns of a row that share a line, or several if a text needs them.
    fn write(&self, row: &[String], fold: &[(usize, usize)], indent: usize, page: &mut String) {
        let cells: Vec<Vec<String>> =
            fold.iter().map(|(column, chars)| broken(&row[*column], *chars)).collect();
        for at in 0..cells.iter().map(Vec::len).max().unwrap_or(0) {
            let mut line = " ".repeat(indent);
            for (cell, (column, chars)) in cells.iter().zip(fold) {
                let cell = cell.get(at).map_or("", String::as_str);
                let padding = " ".repeat(chars - cell.chars().count());
                let (before, after) =
                    if self.columns[*column].1 { (&*padding, "") } else { ("", &*padding) };
                line.extend([before, cell, after, &" ".repeat(GAP)]);
            }
            page.push_str(line.trim_end());
            page.push('\n');
        }
    }
}

/// Lines of a cell, none longer than its column is wide.
fn broken(cell: &str, chars: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for line in wrapped(cell, chars) {
        let line: Vec<char> = line.chars().collect();
        lines.extend(line.chunks(chars.max(1)).map(String::from_iter));
    }
    lines
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
        assert_eq!(table.fit(usize::MAX), expected);
        assert_eq!(table.fit(19), expected);
    }

    #[test]
    fn rows_that_are_too_wide_are_folded() {
        let mut table = Table::new(&[">N", "NAME", ">COUNT", "WHY"]);
        table.row(["1".into(), "x".repeat(23), "1000".into(), "it was too slow for us".into()]);
        table.row(["20".into(), "y".into(), "1".into(), String::new()]);
        // 25 characters, of which 21 are left for the name and 16 for the reason.
        let lines = [
            " N  NAME",
            "  COUNT  WHY",
            " 1  xxxxxxxxxxxxxxxxxxxxx",
            "    xx",
            "   1000  it was too slow",
            "         for us",
            "20  y",
            "      1",
            "",
        ];
        assert_eq!(table.fit(25), lines.join("\n"));
    }
}
