//! Text of others on its way to a terminal, a log or a page: what a terminal obeys, or
//! what makes a line look like another one, is shown in place of taking effect.
//!
//! Invariant: no control character (C0, DEL, C1), no mark that turns the direction of
//! writing, no line separator and no invisible character passes. All other text stays
//! as it is.

use core::fmt::{self, Write};
use std::borrow::Cow;

/// Shows bytes as text: what is harmful as `\n`, `\u{9b}`, what is no UTF-8 as `\xff`.
/// Tabs stay.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a [u8]);

impl<'a> Escaped<'a> {
    /// Shows text in the same way.
    pub fn text(text: &'a str) -> Escaped<'a> {
        Escaped(text.as_bytes())
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            let mut rest = chunk.valid();
            while let Some(at) = rest.find(|c: char| c != '\t' && is_harmful(c)) {
                formatter.write_str(&rest[..at])?;
                let mut tail = rest[at..].chars();
                if let Some(harmful) = tail.next() {
                    write!(formatter, "{}", harmful.escape_default())?;
                }
                rest = tail.as_str();
            }
            formatter.write_str(rest)?;
            for byte in chunk.invalid() {
                write!(formatter, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// Escapes a page of text, and leaves its line ends and tabs as they are.
pub fn page(text: &str) -> Cow<'_, str> {
    let is_escaped = |c: char| c != '\n' && c != '\t' && is_harmful(c);
    if text.contains(is_escaped) {
        let lines: Vec<String> =
            text.split('\n').map(|line| Escaped::text(line).to_string()).collect();
        Cow::Owned(lines.join("\n"))
    } else {
        Cow::Borrowed(text)
    }
}

/// Writes the harmful characters in the strings of JSON as `\u009b`. It means the same:
/// outside of
/// strings JSON has none of them, and those below a space are written that way already.
pub fn json(text: &str) -> Cow<'_, str> {
    let is_left = |c: char| c >= '\x7f' && is_harmful(c);
    if !text.contains(is_left) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if !is_left(c) {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a string does not fail.
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    Cow::Owned(out)
}

/// Whether a character does something other than to be seen.
pub fn is_harmful(c: char) -> bool {
    match c {
        ' '..='\x7e' => false,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' => true,
        // Invisible: soft hyphen, spaces and joiners without width (but for those that
        // some scripts and emoji need), marks of annotations, tags.
        '\u{ad}' | '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{feff}' => true,
        '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => true,
        // The direction of writing: marks, embeddings, overrides, isolates.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' => true,
        '\u{2066}'..='\u{206f}' => true,
        // Ends of lines and paragraphs.
        '\u{2028}' | '\u{2029}' => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_as_it_is() {
        for text in [
            "",
            "plain",
            "grün\t!",
            "日本語",
            "עברית",
            "e\u{301}",
            "👩\u{200d}💻",
            "می\u{200c}خواهم",
        ] {
            assert_eq!(Escaped::text(text).to_string(), text);
            assert_eq!(json(text), text);
        }
    }

    #[test]
    fn what_a_terminal_obeys_is_shown() {
        let shown = |bytes: &[u8]| Escaped(bytes).to_string();
        assert_eq!(shown(b"a\nb\r\x1b[2J\x7f\0z"), "a\\nb\\r\\u{1b}[2J\\u{7f}\\u{0}z");
        assert_eq!(shown("\u{9b}2J".as_bytes()), "\\u{9b}2J");
        // As a byte of its own it is no UTF-8.
        assert_eq!(shown(b"\x9b2J\xff"), "\\x9b2J\\xff");
    }

    #[test]
    fn what_turns_or_hides_text_is_shown() {
        let marks = "\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\
                     \u{2068}\u{2069}\u{2028}\u{2029}\u{feff}\u{200b}\u{e0041}";
        for mark in marks.chars() {
            let shown = Escaped::text(&format!("user{mark}nimda")).to_string();
            assert_eq!(shown, format!("user\\u{{{:x}}}nimda", u32::from(mark)));
        }
    }

    #[test]
    fn a_page_has_lines() {
        assert_eq!(page("a\tb\nc\n"), "a\tb\nc\n");
        assert_eq!(page("a\x1b[2J\nb\u{202e}\r\n"), "a\\u{1b}[2J\nb\\u{202e}\\r\n");
    }

    #[test]
    fn every_control_and_format_character_is_harmful_in_json_as_well() {
        for c in (0..=0x10_ffff).filter_map(char::from_u32) {
            assert!(is_harmful(c) || !c.is_control(), "{c:?}");
            if c >= '\x7f' && is_harmful(c) {
                let json = json(&format!("[\"{c}\"]")).into_owned();
                assert!(json.is_ascii() && json.starts_with("[\"\\u"), "{json}");
            }
        }
        assert_eq!(json("{\"a\":\"\u{9b}\u{e0041}\"}"), "{\"a\":\"\\u009b\\udb40\\udc41\"}");
        assert_eq!(json("{\n  \"a\": 1\n}"), "{\n  \"a\": 1\n}");
    }
}
