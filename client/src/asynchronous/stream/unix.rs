//! Connecting to a local socket.

use std::io;
use std::path::Path;
use std::time::Duration;

use interprocess::local_socket::tokio::Stream;
use interprocess::local_socket::traits::tokio::Stream as _;
use interprocess::local_socket::{GenericFilePath, ToFsName};

use crate::error::Error;

/// A socket takes what it has room for, whatever it is given.
pub(in crate::asynchronous) const MAX_WRITE_BYTES: usize = usize::MAX >> 1;

/// Connects. That does not wait: a full backlog is an error.
pub(in crate::asynchronous) async fn connect(path: &Path, _: Duration) -> Result<Stream, Error> {
    let fail = |error: io::Error| Error::from_connect(path, &error);
    let name = path.to_fs_name::<GenericFilePath>().map_err(fail)?;
    Stream::connect(name).await.map_err(fail)
}
