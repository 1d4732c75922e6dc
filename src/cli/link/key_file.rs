//! Key files: 32 random bytes, for the broker's user alone.
//!
//! Who may read a file is said differently by each system, whose sibling supplies
//! `create`, `fault` and `FAULTS_ARE_TOLERATED`.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

use std::fs::{self, File};
use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;

use netcluster_link::keys::{KEY_BYTES, Key};
use ring::rand::{SecureRandom, SystemRandom};

use crate::cli::failure::Failure;
use crate::cli::output::notice;

/// Reads a key; what is not as it should be, but no reason not to serve, is added
/// to the warnings.
pub fn read(path: &Path, warnings: &mut Vec<String>) -> Result<Key, Failure> {
    let place = path.display();
    let make = format!("make one with `netcluster link keygen {place}`");
    let cannot = |error: io::Error| {
        let hint = if error.kind() == io::ErrorKind::NotFound { &*format!("; {make}") } else { "" };
        Failure::usage(format_args!("cannot read the key file {place}: {error}{hint}"))
    };
    let file = File::open(path).map_err(cannot)?;
    let fault = system::fault(&file, path).map_err(cannot)?;
    // One more than a key has tells a longer file.
    let mut bytes = Vec::new();
    let most = KEY_BYTES as u64 + 1;
    file.take(most).read_to_end(&mut bytes).map_err(cannot)?;
    let bytes: [u8; KEY_BYTES] = bytes.try_into().map_err(|bytes: Vec<u8>| {
        let has = match bytes.len() {
            KEY_BYTES.. => "more".to_owned(),
            fewer => fewer.to_string(),
        };
        Failure::usage(format_args!(
            "the key file {place} must have exactly {KEY_BYTES} bytes, but has {has}; {make}"
        ))
    })?;
    if bytes == [0; KEY_BYTES] {
        return Err(Failure::usage(format_args!("the key file {place} is all zeros; {make}")));
    }
    match fault {
        Some(fault) if system::FAULTS_ARE_TOLERATED => warnings.push(fault),
        Some(fault) => return Err(Failure::usage(fault)),
        None => {}
    }
    Ok(Key::new(bytes))
}

/// `netcluster link keygen`.
pub fn make(path: &Path) -> Result<(), Failure> {
    let mut bytes = [0; KEY_BYTES];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Failure::other("the system gives no random bytes"))?;
    if path == Path::new("-") {
        return print(&bytes);
    }
    write_new(path, &bytes).map_err(|error| {
        let place = path.display();
        match error.kind() {
            io::ErrorKind::AlreadyExists => Failure::other(format_args!(
                "{place} exists: it may be a key in use, so it is not overwritten: name another \
                 file, or remove this one yourself"
            )),
            _ => Failure::other(format_args!("cannot write {place}: {error}")),
        }
    })?;
    let id = Key::new(bytes).id();
    notice(format_args!("made the key {id:08x} in {}", path.display()));
    Ok(())
}

fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    if out.is_terminal() {
        return Err(Failure::usage("a key is no text for a terminal: name a file, or redirect"));
    }
    out.write_all(bytes).and_then(|()| out.flush()).or_else(|error| Failure::output(&error))
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = system::create(path)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).inspect_err(|_| {
        // Half a key helps nobody.
        let _ = fs::remove_file(path);
    })
}
