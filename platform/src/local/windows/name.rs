//! The names of pipes.

use std::path::Path;

use super::super::BindError;
use super::MAX_PATH_BYTES;
use crate::pipe::pipe_name;

/// The name of a pipe of this machine: `\\.\pipe\NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name(String);

impl Name {
    /// The pipe that a path names.
    pub(super) fn of(path: &Path) -> Result<Name, BindError> {
        if path.as_os_str().len() > MAX_PATH_BYTES {
            return Err(BindError::PathTooLong { path: path.to_owned() });
        }
        let invalid = || BindError::PathInvalid { path: path.to_owned() };
        let name = pipe_name(path).map_err(|_| invalid())?;
        let name = name.to_str().ok_or_else(invalid)?;
        if name.contains('\0') { Err(invalid()) } else { Ok(Name(name.to_owned())) }
    }

    pub(super) fn pipe(&self) -> &str {
        &self.0
    }

    /// The name of the mutex that belongs to it, common to all sessions of the machine.
    /// Pipes' names make no difference between upper and lower case, mutexes' do.
    pub(super) fn mutex(&self) -> String {
        let last = self.0.rsplit('\\').next().unwrap_or_default();
        format!(r"Global\netcluster-{}", last.to_lowercase())
    }
}

/// A text as the system wants it, with its final 0.
pub(crate) fn wide(text: &str) -> Vec<u16> {
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
            let name = Name::of(Path::new(path)).unwrap();
            assert_eq!(name.pipe(), r"\\.\pipe\Bus");
            assert_eq!(name.mutex(), r"Global\netcluster-bus");
        }
    }

    #[test]
    fn what_names_no_pipe_is_refused_with_an_example() {
        for path in ["", "bus", r"C:\bus", r"\\.\pipe\", r"\\.\pipe\a\b", r"\\server\pipe\bus"] {
            let error = Name::of(Path::new(path)).unwrap_err();
            assert!(matches!(error, BindError::PathInvalid { .. }), "{path}");
            assert!(error.to_string().contains(r"\\.\pipe\netcluster-default"), "{error}");
        }
        let long = format!(r"\\.\pipe\{}", "x".repeat(MAX_PATH_BYTES));
        assert!(matches!(Name::of(Path::new(&long)), Err(BindError::PathTooLong { .. })));
    }
}
