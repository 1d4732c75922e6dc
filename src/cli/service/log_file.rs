//! The log file of a service. Of a certain size it is set aside, and the one before is
//! gone: the two together are all that a log takes of the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Largest size of one file, in bytes.
const MAX_LOG_BYTES: u64 = 8 << 20;

/// A log file.
pub struct LogFile {
    path: PathBuf,
    /// Closed while it is set aside: an open file cannot be renamed everywhere.
    file: Option<File>,
    bytes: u64,
}

impl LogFile {
    /// Goes on with the file at `path`, or begins it.
    pub fn open(path: PathBuf) -> io::Result<LogFile> {
        let (file, bytes) = open(&path)?;
        Ok(LogFile { path, file: Some(file), bytes })
    }

    /// The file, with room for so many bytes.
    fn with_room(&mut self, bytes: u64) -> io::Result<&mut File> {
        if self.bytes > 0 && self.bytes + bytes > MAX_LOG_BYTES {
            self.file = None;
            // If it cannot be set aside it is gone on with, rather than lines be lost.
            let _ = fs::rename(&self.path, self.path.with_extension("log.old"));
        }
        if self.file.is_none() {
            let (file, bytes) = open(&self.path)?;
            (self.file, self.bytes) = (Some(file), bytes);
        }
        self.file.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.with_room(bytes.len() as u64)?.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_takes_no_more_than_two_files() {
        let directory = std::env::temp_dir().join(format!("netcluster-log-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("netcluster.log");
        let line = vec![b'x'; 1 << 20];
        let mut log = LogFile::open(path.clone()).unwrap();
        for _ in 0..30 {
            log.write_all(&line).unwrap();
        }
        drop(log);
        // A later start goes on with it.
        let mut log = LogFile::open(path.clone()).unwrap();
        log.write_all(b"last").unwrap();
        let size = |path: &Path| fs::metadata(path).unwrap().len();
        assert_eq!(size(&path), (6 << 20) + 4);
        assert_eq!(size(&path.with_extension("log.old")), 8 << 20);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 2);
        drop(log);
        fs::remove_dir_all(&directory).unwrap();
    }
}
