//! Names of events, patterns and channels with holes, one name per client.
//!
//! ```text
//!   sensor.{machine}.{client}.cpu     the client's number on its machine
//!   room-{client%50}, desk-{client/4} its rest or its share by a number
//!   symbol.{0..100}                   a hundred names
//! ```

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

const HOLES: &str = "{client}, {client%N}, {client/N}, {machine} or {A..B}";
/// Most names of a range: more is a mistake.
const MAX_RANGE: usize = 1 << 16;

/// Name with holes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

/// One name with holes, or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(pub Vec<Template>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Machine,
    Client,
    Rest(usize),
    Share(usize),
    Range(usize, usize),
}

impl Default for Template {
    fn default() -> Template {
        Template { pieces: vec![Piece::Text("default".into())] }
    }
}

impl Template {
    /// Reads a name with holes; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            if !before.is_empty() {
                pieces.push(Piece::Text(before.into()));
            }
            let (hole, behind) =
                behind.split_once('}').ok_or_else(|| format!("{text}: a `{{` without `}}`"))?;
            pieces.push(
                Piece::parse(hole)
                    .ok_or_else(|| format!("{text}: {{{hole}}} is none of the holes {HOLES}"))?,
            );
            rest = behind;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.into()));
        }
        if pieces.iter().filter(|piece| matches!(piece, Piece::Range(..))).count() > 1 {
            return Err(format!("{text}: one {{A..B}} is enough"));
        }
        if pieces.is_empty() {
            return Err("a name must not be empty".into());
        }
        Ok(Template { pieces })
    }

    /// Returns whether this stands for several names.
    pub fn is_range(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Range(..)))
    }

    /// Returns how many names a client has.
    fn count(&self) -> usize {
        let count = |piece: &Piece| match piece {
            Piece::Range(from, to) => to - from,
            _ => 1,
        };
        self.pieces.iter().map(count).max().unwrap_or(0)
    }

    /// Returns the names of a client.
    pub fn names(&self, machine: &str, client: usize) -> Vec<String> {
        let range = self.pieces.iter().find_map(|piece| match piece {
            Piece::Range(from, to) => Some(*from..*to),
            _ => None,
        });
        let numbers = range.unwrap_or(0..1);
        numbers.map(|number| self.name(machine, client, number)).collect()
    }

    /// Returns the name of a client that has but one.
    pub fn only(&self, machine: &str, client: usize) -> String {
        self.name(machine, client, 0)
    }

    fn name(&self, machine: &str, client: usize, number: usize) -> String {
        let mut name = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => name += text,
                Piece::Machine => name += machine,
                Piece::Client => name += &client.to_string(),
                Piece::Rest(by) => name += &(client % by).to_string(),
                Piece::Share(by) => name += &(client / by).to_string(),
                Piece::Range(..) => name += &number.to_string(),
            }
        }
        name
    }
}

impl Piece {
    fn parse(hole: &str) -> Option<Piece> {
        let by = |text: &str| text.trim().parse().ok().filter(|&by: &usize| by > 0);
        match hole.trim() {
            "client" => return Some(Piece::Client),
            "machine" => return Some(Piece::Machine),
            _ => {}
        }
        if let Some((from, to)) = hole.split_once("..") {
            let (from, to) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
            let is_sane = from < to && to - from <= MAX_RANGE;
            return is_sane.then_some(Piece::Range(from, to));
        }
        if let Some((what, number)) = hole.split_once('%') {
            return (what.trim() == "client").then_some(Piece::Rest(by(number)?));
        }
        let (what, number) = hole.split_once('/')?;
        (what.trim() == "client").then_some(Piece::Share(by(number)?))
    }
}

impl Names {
    /// Returns how many names a client has, without making them.
    pub fn count(&self) -> usize {
        self.0.iter().fold(0, |count, template| count.saturating_add(template.count()))
    }

    /// Returns the names of a client.
    pub fn names(&self, machine: &str, client: usize) -> Vec<String> {
        self.0.iter().flat_map(|template| template.names(machine, client)).collect()
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Template, D::Error> {
        let text = String::deserialize(deserializer)?;
        Template::parse(&text).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Names, D::Error> {
        struct OneOrMore;
        impl<'de> Visitor<'de> for OneOrMore {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name or a list of names")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Names, E> {
                Template::parse(text).map(|template| Names(vec![template])).map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some(template) = list.next_element()? {
                    names.push(template);
                }
                if names.is_empty() {
                    return Err(A::Error::custom("at least one name"));
                }
                Ok(Names(names))
            }
        }
        deserializer.deserialize_any(OneOrMore)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_filled_per_client() {
        let names = |text: &str| Template::parse(text).unwrap().names("m2", 53);
        assert_eq!(names("plain"), ["plain"]);
        assert_eq!(names("s.{machine}.{client}.cpu"), ["s.m2.53.cpu"]);
        assert_eq!(names("room-{client%50}"), ["room-3"]);
        assert_eq!(names("{client/10}.x"), ["5.x"]);
        assert_eq!(names("a{2..5}"), ["a2", "a3", "a4"]);
        for text in ["plain", "a.{client}", "a{2..5}"] {
            let names = Names(vec![Template::parse(text).unwrap()]);
            assert_eq!(names.count(), names.names("m", 0).len(), "{text}");
        }
    }

    #[test]
    fn wrong_holes_are_named_with_the_right_ones() {
        for text in ["{klient}", "{client%0}", "{5..5}", "{client+1}", "{"] {
            let error = Template::parse(text).unwrap_err();
            assert!(error.contains('{'), "{error}");
        }
        assert!(Template::parse("").is_err());
        assert!(Template::parse("{0..2}{0..2}").is_err());
    }
}
