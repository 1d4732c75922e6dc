//! A client's end of a connection, blocking: a socket on Unix, a pipe on Windows.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Longer than anything here takes; only a bug meets it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The ignored test that a child runs: it does nothing for a minute.
const CHILD: &str = "a_child_sleeps";

/// A path that nothing else uses.
pub fn unused_path() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("netcluster-test-{}-{number}", std::process::id());
    if cfg!(windows) {
        PathBuf::from(format!(r"\\.\pipe\{name}"))
    } else {
        std::env::temp_dir().join(name + ".sock")
    }
}

/// Removes what a listener leaves, when it is dropped.
pub struct Leftovers(pub PathBuf);

impl Drop for Leftovers {
    fn drop(&mut self) {
        // Its lock file; a test run has hundreds. A pipe leaves nothing.
        let mut lock = self.0.clone().into_os_string();
        lock.push(".lock");
        let _ = std::fs::remove_file(lock);
    }
}

pub struct Client(system::Stream);

impl Client {
    pub fn connect(path: &Path) -> io::Result<Client> {
        system::connect(path, PATIENCE).map(Client)
    }

    /// Whether nobody accepts there now.
    pub fn is_refused(path: &Path) -> bool {
        system::connect(path, Duration::ZERO).is_err()
    }

    /// A process that has a connection and does nothing with it.
    pub fn in_a_child(path: &Path) -> Child {
        let stdin: Stdio = system::handle(path).unwrap().into();
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", CHILD, "--ignored"])
            .stdin(stdin)
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Ends what it writes. A pipe has no half: it is closed.
    pub fn finish(self) -> Option<Client> {
        system::finish(self.0).map(Client)
    }
}

impl Read for Client {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        self.0.read(space)
    }
}

impl Write for Client {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(unix)]
mod system {
    use std::io;
    use std::net::Shutdown;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::path::Path;
    use std::time::Duration;

    pub use std::os::unix::net::UnixStream as Stream;

    pub fn connect(path: &Path, _: Duration) -> io::Result<Stream> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(super::PATIENCE))?;
        Ok(stream)
    }

    pub fn handle(path: &Path) -> io::Result<OwnedFd> {
        UnixStream::connect(path).map(Into::into)
    }

    pub fn finish(stream: Stream) -> Option<Stream> {
        stream.shutdown(Shutdown::Write).unwrap();
        Some(stream)
    }
}

#[cfg(windows)]
mod system {
    use std::io::{self, IoSlice, Read, Write};
    use std::os::windows::io::OwnedHandle;
    use std::path::Path;
    use std::time::Duration;

    use netcluster_platform::pipe::{self, Pipe};

    use super::PATIENCE;

    pub struct Stream(Pipe);

    pub fn connect(path: &Path, patience: Duration) -> io::Result<Stream> {
        Pipe::connect(path, patience).map(Stream)
    }

    pub fn handle(path: &Path) -> io::Result<OwnedHandle> {
        pipe::open(path, PATIENCE)
    }

    pub fn finish(_: Stream) -> Option<Stream> {
        None
    }

    impl Read for Stream {
        fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
            self.0.read(space, Some(PATIENCE))
        }
    }

    impl Write for Stream {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(&[IoSlice::new(bytes)], true)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
