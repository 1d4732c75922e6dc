//! JSON as `emit` sends and `on` prints it: checked, and on one line.

/// Writes the same JSON without white space, everything else as it was written.
///
/// # Errors
/// It is no JSON in UTF-8.
pub fn compact(json: &[u8]) -> Result<String, serde_json::Error> {
    // A reader of one value that keeps numbers and the order of keys as they are
    // would need more than `Value`; dropping white space outside strings does not.
    let json = std::str::from_utf8(json).map_err(serde::de::Error::custom)?;
    serde_json::from_str::<serde::de::IgnoredAny>(json)?;
    let mut out = String::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for c in json.chars() {
        if in_string {
            in_string = c != '"' || escaped;
            escaped = c == '\\' && !escaped;
        } else {
            in_string = c == '"';
        }
        if in_string || !matches!(c, ' ' | '\t' | '\n' | '\r') {
            out.push(c);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_loses_its_white_space_and_nothing_else() {
        let compact = |text: &str| compact(text.as_bytes());
        let text = " { \"b\" : [1.50, 12345678901234567890123] ,\n\"a \\\" b\\\\\" : \" ä \" } ";
        let expected = "{\"b\":[1.50,12345678901234567890123],\"a \\\" b\\\\\":\" ä \"}";
        assert_eq!(compact(text).unwrap(), expected);
        for bad in ["", "{", "{} {}", "hello", "[1,]"] {
            assert!(compact(bad).is_err(), "{bad}");
        }
        assert!(super::compact(b"\"\xff\"").is_err());
    }
}
