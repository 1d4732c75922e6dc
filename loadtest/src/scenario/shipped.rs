//! Scenarios that come with the program: each a real use, and a start for an own file.

const ALL: [(&str, &str); 8] = [
    ("telemetry", include_str!("shipped/telemetry.toml")),
    ("market-data", include_str!("shipped/market-data.toml")),
    ("chat", include_str!("shipped/chat.toml")),
    ("control", include_str!("shipped/control.toml")),
    ("bulk", include_str!("shipped/bulk.toml")),
    ("steady", include_str!("shipped/steady.toml")),
    ("churn", include_str!("shipped/churn.toml")),
    ("cluster-3", include_str!("shipped/cluster-3.toml")),
];

/// Names of the shipped scenarios.
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|(name, _)| *name)
}

/// Names of the shipped scenarios, in a sentence.
pub fn known() -> String {
    names().collect::<Vec<_>>().join(", ")
}

/// Text of the shipped scenario of this name.
pub fn text(name: &str) -> Option<&'static str> {
    ALL.iter().find(|(shipped, _)| *shipped == name).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    #[test]
    fn every_shipped_scenario_fits_together_and_has_its_name() {
        for name in super::names() {
            let (scenario, _) = parse::read(name).unwrap();
            assert_eq!(scenario.name, name);
            assert!(!scenario.about.is_empty(), "{name}");
        }
    }

    #[test]
    fn the_documented_scenario_is_one() {
        let document = include_str!("../../SCENARIO.md");
        let (_, text) = document.split_once("```toml\n").unwrap();
        let (text, _) = text.split_once("```").unwrap();
        let scenario = parse::parse("SCENARIO.md", text).unwrap();
        assert_eq!((scenario.emitters.len(), scenario.faults.len()), (1, 1));
    }

    #[test]
    fn an_unknown_name_tells_the_known_ones() {
        let error = parse::read("telemetri").unwrap_err().to_string();
        assert!(error.contains("telemetry, market-data"), "{error}");
    }
}
