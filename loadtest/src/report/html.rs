//! Text that becomes HTML, and tables.
//!
//! Every text that comes out of a result passes [`escape`]; nothing else of this
//! crate writes such text into a page.

use std::fmt::{self, Display, Write};

/// Escapes a text for HTML, in elements and in attributes.
pub fn escape(text: &str) -> Escaped<'_> {
    Escaped(text)
}

/// Text that [`escape`] has made harmless.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => out.write_str("&amp;")?,
                '<' => out.write_str("&lt;")?,
                '>' => out.write_str("&gt;")?,
                '"' => out.write_str("&quot;")?,
                '\'' => out.write_str("&#39;")?,
                // What follows would be read in another order than it stands.
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.write_char('\u{fffd}')?,
                '\n' | '\t' => out.write_char(letter)?,
                letter if letter.is_control() => out.write_char('\u{fffd}')?,
                letter => out.write_char(letter)?,
            }
        }
        Ok(())
    }
}

/// Writes a whole number with its thousands apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns the beginning of a text, for a place with room for so many letters.
pub fn shortened(text: &str, letters: usize) -> String {
    if text.chars().count() <= letters {
        return text.into();
    }
    text.chars().take(letters.saturating_sub(1)).chain(['…']).collect()
}

/// Content of a cell.
#[derive(Clone, Debug)]
pub struct Entry {
    text: String,
    class: &'static str,
}

impl Entry {
    /// Makes a cell of a text.
    pub fn text(text: impl Into<String>) -> Entry {
        Entry { text: text.into(), class: "" }
    }

    /// Makes a cell of a number, set to the right.
    pub fn number(text: impl Into<String>) -> Entry {
        Entry { text: text.into(), class: "n" }
    }

    /// Makes a cell of a count that should be 0: one that is not stands out.
    pub fn faults(count: u64) -> Entry {
        Entry { text: grouped(count), class: if count == 0 { "n" } else { "n bad" } }
    }

    /// Points the cell out as the best of its row.
    pub fn best(self) -> Entry {
        Entry { class: "n best", ..self }
    }
}

/// Writes a table with a heading row. Narrow screens show each row as a block with the
/// headings beside; so the roles of a table's parts are spelt out.
pub fn table(out: &mut String, label: &str, headings: &[&str], rows: &[Vec<Entry>]) {
    let label = escape(label);
    let _ = write!(out, "<table role=\"table\" aria-label=\"{label}\"><thead role=\"rowgroup\">");
    out.push_str("<tr role=\"row\">");
    for (at, heading) in headings.iter().enumerate() {
        let is_number = |row: &Vec<Entry>| row.get(at).is_some_and(|of| of.class.starts_with('n'));
        let class = if rows.iter().any(is_number) { " class=\"n\"" } else { "" };
        let heading = escape(heading);
        let _ = write!(out, "<th role=\"columnheader\" scope=\"col\"{class}>{heading}</th>");
    }
    out.push_str("</tr></thead><tbody role=\"rowgroup\">");
    for row in rows {
        out.push_str("<tr role=\"row\">");
        for (at, (entry, heading)) in row.iter().zip(headings).enumerate() {
            let (tag, role) =
                if at == 0 { ("th scope=\"row\"", "rowheader") } else { ("td", "cell") };
            let end = if at == 0 { "th" } else { "td" };
            let (class, heading, text) = (entry.class, escape(heading), escape(&entry.text));
            let _ = write!(
                out,
                "<{tag} role=\"{role}\" class=\"{class}\" data-label=\"{heading}\">{text}</{end}>"
            );
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_stays_text() {
        let text = escape("<script a='b' c=\"d\">&\u{202e}\u{1}\n").to_string();
        assert_eq!(text, "&lt;script a=&#39;b&#39; c=&quot;d&quot;&gt;&amp;\u{fffd}\u{fffd}\n");
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }

    #[test]
    fn a_long_text_ends_in_an_ellipsis() {
        assert_eq!(shortened("zenoh", 5), "zenoh");
        assert_eq!(shortened("mosquitto", 5), "mosq…");
    }
}
