//! Names of pipes.

use std::io;
use std::path::{Path, PathBuf};

/// Prefix of the pipes of this machine.
const PREFIX: &str = r"\\.\pipe\";

/// Prefix as older programs write it; not every call of the system takes it.
const VERBATIM_PREFIX: &str = r"\\?\pipe\";

/// The longest name, prefix included.
const MAX_NAME_CHARS: usize = 256;

/// The name of a pipe of this machine as the system takes it everywhere:
/// `\\.\pipe\NAME`. Also `\\?\pipe\NAME`, and both with slashes.
///
/// # Errors
/// `InvalidInput`, with what to write instead.
pub fn pipe_name(path: &Path) -> io::Result<PathBuf> {
    let wrong = |text: String| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    let text = path.to_string_lossy().replace('/', r"\");
    let rest = [PREFIX, VERBATIM_PREFIX].iter().find_map(|prefix| {
        let (front, rest) = text.split_at_checked(prefix.len())?;
        front.eq_ignore_ascii_case(prefix).then_some(rest)
    });
    let Some(rest) = rest else {
        let example = path.file_name().map_or("NAME".into(), |name| name.to_string_lossy());
        return wrong(format!("the name of a pipe is written {PREFIX}{example}"));
    };
    if rest.is_empty() || rest.contains('\\') {
        return wrong(format!(r"a pipe needs a name without a backslash behind {PREFIX}"));
    }
    if PREFIX.len() + rest.chars().count() > MAX_NAME_CHARS {
        return wrong(format!("the name of a pipe has at most {MAX_NAME_CHARS} characters"));
    }
    Ok(PathBuf::from(format!("{PREFIX}{rest}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_pipe_is_the_same_name() {
        for written in [
            r"\\.\pipe\netcluster-default",
            r"\\?\pipe\netcluster-default",
            r"\\.\PIPE\netcluster-default",
            "//./pipe/netcluster-default",
        ] {
            let name = pipe_name(Path::new(written)).unwrap();
            assert_eq!(name, Path::new(r"\\.\pipe\netcluster-default"));
        }
    }

    #[test]
    fn what_is_no_pipe_is_refused_with_what_to_write() {
        let refusal = |path: &str| pipe_name(Path::new(path)).unwrap_err().to_string();
        assert!(refusal("netcluster").contains(r"\\.\pipe\netcluster"));
        assert!(refusal(r"C:\tmp\bus.sock").contains(r"\\.\pipe\bus.sock"));
        assert!(refusal(r"\\server\pipe\bus").contains(r"\\.\pipe\bus"));
        assert!(refusal(r"\\.\pipe\").contains("needs a name"));
        assert!(refusal(r"\\.\pipe\a\b").contains("without a backslash"));
        assert!(refusal(&format!(r"\\.\pipe\{}", "n".repeat(248))).contains("256"));
    }
}
