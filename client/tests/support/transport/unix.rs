//! Local sockets.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use netcluster_testkit::Directory;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};

/// A path where nobody listens.
pub const NOBODY: &str = "/nonexistent/netcluster.sock";

/// Gives a path where nobody can listen.
pub fn impossible() -> PathBuf {
    PathBuf::from(format!("/tmp/{}", "x".repeat(200)))
}

/// Gives the path where the broker of a directory listens.
pub fn address(directory: &Directory) -> PathBuf {
    directory.join("b.sock")
}

/// Removes what a broker left there.
pub fn remove(address: &Path) {
    let _ = std::fs::remove_file(address);
}

/// A socket at which nobody accepts, and clients that wait for that until no more
/// may wait.
pub fn full_backlog(path: &Path) -> Vec<OwnedFd> {
    let address = SocketAddrUnix::new(path).unwrap();
    let open = || rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    let mut all = vec![open()];
    rustix::net::bind(&all[0], &address).unwrap();
    rustix::net::listen(&all[0], 0).unwrap();
    loop {
        let waiting = open();
        rustix::io::ioctl_fionbio(&waiting, true).unwrap();
        let connected = rustix::net::connect(&waiting, &address);
        all.push(waiting);
        if connected.is_err() {
            return all;
        }
    }
}

pub struct Listener(UnixListener);

impl Listener {
    pub fn bind(address: &Path) -> Listener {
        Listener(UnixListener::bind(address).unwrap())
    }

    pub fn accept(&self) -> Stream {
        Stream(Arc::new(self.0.accept().unwrap().0))
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[derive(Clone)]
pub struct Stream(Arc<UnixStream>);

impl Stream {
    pub fn connect(address: &Path) -> io::Result<Stream> {
        UnixStream::connect(address).map(|stream| Stream(Arc::new(stream)))
    }

    pub fn read(&self, space: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(space)
    }

    pub fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        (&*self.0).write_all(bytes)
    }

    pub fn shut_down(&self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}
