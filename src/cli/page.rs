//! Text for people, no wider than their terminal: titled lines and sentences. Tables are
//! in `table`.
//!
//! Invariant: what goes into a pipe or a file is as if lines had no end.

use std::io;

use terminal_size::{Width, terminal_size_of};

/// Width of the title of a line, and of the space behind it.
const TITLE_CHARS: usize = 10;

/// Narrowest width that text is fitted to.
const MIN_CHARS: usize = 20;

/// Width of the terminal that standard output is, in characters; a pipe or a file has no
/// end of a line.
pub fn terminal_chars() -> usize {
    match terminal_size_of(io::stdout()) {
        Some((Width(chars), _)) => usize::from(chars).max(MIN_CHARS),
        None => usize::MAX,
    }
}

/// Writes lines of a title and a text, which goes on below itself.
pub fn titled(lines: &[(&str, String)], width: usize) -> String {
    let mut page = String::new();
    for (title, text) in lines {
        for (at, line) in wrapped(text, width.saturating_sub(TITLE_CHARS)).iter().enumerate() {
            let title = if at == 0 { title } else { "" };
            page.push_str(&format!("{title:<TITLE_CHARS$}{line}\n"));
        }
    }
    page
}

/// Breaks a text between words, into lines of at most so many characters but for words that
/// are longer.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for (at, word) in text.split(' ').enumerate() {
        if at > 0 && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::take(&mut line));
        } else if at > 0 {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_between_words() {
        assert_eq!(wrapped("", 5), [""]);
        assert_eq!(wrapped("one  two", usize::MAX), ["one  two"]);
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("grün grün unbreakable a", 9), ["grün grün", "unbreakable", "a"]);
    }

    #[test]
    fn a_titled_text_goes_on_below_itself() {
        let lines = [("one", "a few words".to_owned()), ("two", String::new())];
        assert_eq!(titled(&lines, usize::MAX), "one       a few words\ntwo       \n");
        assert_eq!(titled(&lines, 16), "one       a few\n          words\ntwo       \n");
    }
}
