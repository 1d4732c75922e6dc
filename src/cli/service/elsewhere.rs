//! Systems whose service manager starts any program.

use std::path::PathBuf;

use crate::cli::failure::Failure;

fn instead() -> Failure {
    Failure::usage(
        "only Windows needs this: here, let the service manager run `netcluster serve` (units for \
         systemd are in contrib/systemd, and in the Debian package)",
    )
}

/// Registers the service.
pub fn install(_config: Option<PathBuf>) -> Result<(), Failure> {
    Err(instead())
}

/// Removes it.
pub fn uninstall() -> Result<(), Failure> {
    Err(instead())
}

/// Is it.
pub fn run(_config: Option<PathBuf>) -> Result<(), Failure> {
    Err(instead())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_says_what_to_use_instead() {
        for refused in [install(None), uninstall(), run(None)] {
            let text = refused.unwrap_err().to_string();
            assert!(text.contains("units for systemd") && !text.contains('\n'), "{text}");
        }
    }
}
