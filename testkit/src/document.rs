//! A document in Markdown as tests read it: fenced blocks, and tables.
//!
//! ````text
//! ```frame event        ← heading
//! sequence: 1           ← fields
//! bytes:
//! 28 00  # a comment    ← bytes
//! ```
//! ````

use std::collections::BTreeMap;

/// The text of a document.
#[derive(Clone, Copy, Debug)]
pub struct Document(pub &'static str);

/// A fenced block.
#[derive(Debug)]
pub struct Block {
    /// The words behind the backticks.
    pub heading: Vec<&'static str>,
    /// The lines between the fences.
    pub lines: Vec<&'static str>,
    /// The number of its first line in the document, for messages.
    pub line_number: usize,
}

impl Document {
    /// The fenced blocks, in their order.
    ///
    /// # Panics
    /// One is not closed.
    pub fn blocks(self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<Block> = None;
        for (at, line) in self.0.lines().enumerate() {
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

    /// The blocks whose heading begins with this word.
    ///
    /// # Panics
    /// There are none, or one is not closed.
    pub fn blocks_of(self, word: &str) -> Vec<Block> {
        let mut blocks = self.blocks();
        blocks.retain(|block| block.heading.first() == Some(&word));
        assert!(!blocks.is_empty(), "no blocks of `{word}`");
        blocks
    }

    /// The rows of the table with these columns below a heading: cells without backticks.
    ///
    /// # Panics
    /// There is none.
    pub fn table(self, heading: &str, columns: &str) -> Vec<Vec<String>> {
        let (_, section) = self.0.split_once(&format!("\n{heading}\n")).expect(heading);
        let rows = section.lines().skip_while(|line| *line != columns).skip(2);
        let rows: Vec<Vec<String>> = rows
            .take_while(|line| line.starts_with('|'))
            .map(|line| {
                let cells = line.trim_matches('|').split(" |");
                cells.map(|cell| cell.trim().replace('`', "")).collect()
            })
            .collect();
        assert!(!rows.is_empty(), "{heading}: a table");
        rows
    }
}

impl Block {
    /// The `key: value` lines above the bytes.
    ///
    /// # Panics
    /// One of them is another line.
    pub fn fields(&self) -> BTreeMap<&'static str, &'static str> {
        let lines = self.lines.iter().take_while(|line| **line != "bytes:");
        lines
            .map(|line| line.split_once(':').expect("key: value"))
            .map(|(key, value)| (key, value.trim()))
            .collect()
    }

    /// The bytes below `bytes:`, without comments.
    ///
    /// # Panics
    /// Something there is no byte in hexadecimal.
    pub fn bytes(&self) -> Vec<u8> {
        let lines = self.lines.iter().skip_while(|line| **line != "bytes:").skip(1);
        lines
            .flat_map(|line| line.split('#').next().unwrap_or_default().split_whitespace())
            .map(|byte| u8::from_str_radix(byte, 16).expect("a byte in hexadecimal"))
            .collect()
    }
}

/// Reads a number, also a hexadecimal one.
///
/// # Panics
/// It is none.
pub fn number(text: &str) -> u64 {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    }
    .unwrap_or_else(|_| panic!("a number: {text}"))
}

/// Reads `yes` or `no`.
///
/// # Panics
/// It is neither.
pub fn yes(text: &str) -> bool {
    match text {
        "yes" => true,
        "no" => false,
        other => panic!("yes or no: {other}"),
    }
}
