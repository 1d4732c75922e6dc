//! The names of pipes.

use std::path::Path;

use super::super::BindError;
use super::MAX_PATH_BYTES;

/// What may stand before a pipe's name; all mean the same.
const PREFIXES: [&str; 2] = [r"\\.\pipe\", r"\\?\pipe\"];

/// The name of a pipe, without what stands before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pipe(String);

impl Pipe {
    pub(super) fn path(&self) -> String {
        format!("{}{}", PREFIXES[0], self.0)
    }

    /// The name of the mutex that belongs to it, common to all sessions of the machine.
    /// Pipes' names make no difference between upper and lower case, mutexes' do.
    pub(super) fn mutex(&self) -> String {
        format!(r"Global\netcluster-{}", self.0.to_lowercase())
    }
}

/// The pipe that a path names.
pub(super) fn check(path: &Path) -> Result<Pipe, BindError> {
    let invalid = || BindError::PathInvalid { path: path.to_owned() };
    // Some shells turn the slashes around.
    let text = path.to_str().ok_or_else(invalid)?.replace('/', r"\");
    let prefix = PREFIXES.iter().find(|prefix| {
        text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    });
    let name = &text[prefix.ok_or_else(invalid)?.len()..];
    if name.is_empty() || name.contains(['\\', '\0']) {
        return Err(invalid());
    }
    if text.len() > MAX_PATH_BYTES {
        return Err(BindError::PathTooLong { path: path.to_owned() });
    }
    Ok(Pipe(name.to_owned()))
}

/// A text as the system wants it, with its final 0.
pub(super) fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_has_one_name_however_it_is_written() {
        let paths =
            [r"\\.\pipe\Bus", r"\\?\pipe\Bus", r"\\.\PIPE\Bus", "//./pipe/Bus", r"\\?/pipe\Bus"];
        for path in paths {
            let pipe = check(Path::new(path)).unwrap();
            assert_eq!(pipe.path(), r"\\.\pipe\Bus");
            assert_eq!(pipe.mutex(), r"Global\netcluster-bus");
        }
    }

    #[test]
    fn what_names_no_pipe_is_refused_with_an_example() {
        for path in ["", "bus", r"C:\bus", r"\\.\pipe\", r"\\.\pipe\a\b", r"\\server\pipe\bus"] {
            let error = check(Path::new(path)).unwrap_err();
            assert!(matches!(error, BindError::PathInvalid { .. }), "{path}");
            assert!(error.to_string().contains(r"\\.\pipe\netcluster-default"), "{error}");
        }
        let long = format!(r"\\.\pipe\{}", "x".repeat(MAX_PATH_BYTES));
        assert!(matches!(check(Path::new(&long)), Err(BindError::PathTooLong { .. })));
    }
}
