//! Systems whose service manager starts any program.

use std::path::PathBuf;

use crate::cli::failure::Failure;

fn instead() -> Failure {
    Failure::usage(
        "only Windows needs this: here, let the service manager run `netcluster serve` (a systemd \
         unit is in `netcluster service --help`)",
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
