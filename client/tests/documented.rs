//! Each public method of what programs use has an example, which the documentation's
//! tests run.

use std::fs;
use std::path::Path;

/// Files of what programs use. Drivers of the core and of sessions have an example for each
/// module.
const SOURCES: [&str; 12] = [
    "blocking/client.rs",
    "blocking/client/asking.rs",
    "blocking/client/listening.rs",
    "blocking/subscription.rs",
    "builder.rs",
    "error_kind.rs",
    "message.rs",
    "path/mod.rs",
    "tokio/client.rs",
    "tokio/client/asking.rs",
    "tokio/client/listening.rs",
    "tokio/subscription.rs",
];

/// Public functions of a source whose documentation has no example.
fn without_example(source: &str) -> Vec<String> {
    let mut missing = Vec::new();
    let mut has_example = false;
    for line in source.lines().map(str::trim) {
        let rest = line
            .strip_prefix("pub ")
            .map(|rest| rest.trim_start_matches("const ").trim_start_matches("async "));
        if let Some(name) = rest.and_then(|rest| rest.strip_prefix("fn ")) {
            if !has_example {
                missing.push(name.split(['(', '<']).next().unwrap_or_default().to_owned());
            }
            has_example = false;
        } else if line.starts_with("///") {
            has_example |= line.starts_with("/// ```");
        } else if !line.starts_with("#[") {
            has_example = false;
        }
    }
    missing
}

#[test]
fn each_public_method_has_an_example() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut missing = Vec::new();
    for name in SOURCES {
        let source = fs::read_to_string(directory.join(name)).unwrap();
        assert!(source.contains("pub fn") || source.contains("pub async fn"), "{name}");
        missing
            .extend(without_example(&source).into_iter().map(|method| format!("{name}: {method}")));
    }
    assert!(missing.is_empty(), "an example is missing:\n  {}", missing.join("\n  "));
}

#[test]
fn a_method_without_an_example_is_found() {
    let source = "/// Does it.\n///\n/// ```\n/// it();\n/// ```\npub fn it() {}\n\
                  /// Does that.\npub async fn that<T>() {}\npub(crate) fn no() {}\n";
    assert_eq!(without_example(source), ["that"]);
}
