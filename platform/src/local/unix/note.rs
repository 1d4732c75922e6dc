//! Note of a broker to its successor: the content of its lock file, which nobody
//! else writes while a broker lives.

use std::os::fd::OwnedFd;

/// The most bytes of a note, 32 MiB; what is longer is none.
const MAX_NOTE_BYTES: u64 = 32 << 20;

/// The note of a socket's path. While it lives the lock is held.
#[derive(Debug)]
pub struct Note(OwnedFd);

impl Note {
    pub(super) fn new(lock: OwnedFd) -> Note {
        Note(lock)
    }

    /// Descriptor of the lock file.
    pub(super) fn descriptor(&self) -> &OwnedFd {
        &self.0
    }

    /// Reads what the predecessor left; nothing if that cannot be read.
    pub fn read(&self) -> Vec<u8> {
        let bytes = rustix::fs::fstat(&self.0).map_or(0, |status| status.st_size as u64);
        if bytes > MAX_NOTE_BYTES {
            return Vec::new();
        }
        let mut note = vec![0; bytes as usize];
        let mut filled = 0;
        while filled < note.len() {
            match rustix::io::pread(&self.0, &mut note[filled..], filled as u64) {
                Ok(0) | Err(_) => break,
                Ok(count) => filled += count,
            }
        }
        note.truncate(filled);
        note
    }

    /// Leaves this instead.
    ///
    /// # Errors
    /// What the system says; then there is no note, or half of one.
    pub fn write(&self, note: &[u8]) -> std::io::Result<()> {
        rustix::fs::ftruncate(&self.0, 0)?;
        if note.len() as u64 > MAX_NOTE_BYTES {
            return Ok(());
        }
        let mut written = 0;
        while written < note.len() {
            written += rustix::io::pwrite(&self.0, &note[written..], written as u64)?;
        }
        Ok(())
    }
}
