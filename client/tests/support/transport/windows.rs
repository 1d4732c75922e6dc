//! Named pipes.

use std::io::{self, IoSlice};
use std::os::windows::io::OwnedHandle;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use interprocess::os::windows::named_pipe::{PipeListener, PipeListenerOptions, pipe_mode};
use netcluster_platform::pipe::Pipe;
use netcluster_testkit::Directory;

/// Time for which a successor waits until a broker's last instance is gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes that the system holds of what was written, in each direction.
const QUOTA_BYTES: u32 = 64 << 10;

/// A name where nobody listens.
pub const NOBODY: &str = r"\\.\pipe\netcluster-nobody";

/// Gives a path where nobody can listen.
pub fn impossible() -> PathBuf {
    PathBuf::from(r"C:\netcluster\default.sock")
}

/// Gives the name where the broker of a directory listens.
pub fn address(directory: &Directory) -> PathBuf {
    directory.socket("b.sock")
}

/// Pipes leave nothing behind.
pub fn remove(_: &Path) {}

pub struct Listener(PipeListener<pipe_mode::Bytes, pipe_mode::Bytes>);

impl Listener {
    pub fn bind(address: &Path) -> Listener {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut options = PipeListenerOptions::new().path(address);
            options.input_buffer_size_hint = QUOTA_BYTES;
            options.output_buffer_size_hint = QUOTA_BYTES;
            match options.create_duplex::<pipe_mode::Bytes>() {
                Ok(listener) => return Listener(listener),
                Err(error) if Instant::now() >= deadline => panic!("{address:?}: {error}"),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    pub fn accept(&self) -> Stream {
        let accepted = self.0.accept().unwrap();
        let handle = OwnedHandle::try_from(accepted).expect("nobody else has it");
        Stream(Arc::new(Pipe::new(handle).unwrap()))
    }
}

#[derive(Clone)]
pub struct Stream(Arc<Pipe>);

impl Stream {
    pub fn connect(address: &Path) -> io::Result<Stream> {
        Pipe::connect(address, PATIENCE).map(|pipe| Stream(Arc::new(pipe)))
    }

    pub fn read(&self, space: &mut [u8]) -> io::Result<usize> {
        self.0.read(space, None)
    }

    pub fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = &rest[self.0.write(&[IoSlice::new(rest)], true)?..];
        }
        Ok(())
    }

    pub fn shut_down(&self) {
        self.0.shut_down();
    }
}
