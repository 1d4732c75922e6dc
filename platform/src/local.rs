//! Local sockets: where the broker's clients connect.
//!
//! On Unix they are sockets with a file's name, on Windows named pipes. Each system
//! has its sibling, which supplies `HeirListener`, `InheritedListener`, `LocalListener`, `LocalSocket`, `MAX_PATH_BYTES`,
//! `PATH_ADVICE`, `SocketKeeper`, `listening_pid`, `raise_descriptor_limit`,
//! `account_name`, `find_user`, `find_group` and `own_user`.
//!
//! It does not accept or transfer anything: the back ends do.

mod error;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
pub(crate) mod windows;

#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

pub use error::{BindError, InheritError};
pub use system::{
    HeirListener, InheritedListener, LocalListener, LocalSocket, MAX_PATH_BYTES, Note,
    SocketKeeper, account_name, descriptor_limit, find_group, find_user, listening_pid, own_user,
    raise_descriptor_limit,
};
pub(crate) use system::{end_receiving, end_sending};

/// The kernel buffer that the broker asks for on each client's socket (of a named
/// pipe: each way), 512 KiB. Measured on Linux against the default of 208 KiB: 15 %
/// more throughput with large frames and fan-out, nothing more beyond it. Linux caps
/// it silently at `net.core.wmem_max`.
pub const SEND_BUFFER_BYTES: usize = 512 << 10;

/// Settings of a local listener.
#[derive(Clone, Debug)]
pub struct BindOptions {
    /// The socket's permissions: who may write to it may connect. Of a named pipe
    /// only the bit for others counts: then every user of the machine may.
    pub mode: u32,
    /// The socket's group, if not the broker's own; of a named pipe a user or group
    /// that may connect as well.
    pub group: Option<Group>,
    /// Whether a missing directory (one level) is made. One that is there already
    /// must then be the broker's own if anybody could have made it, as in `/tmp`.
    /// Named pipes are in none.
    pub create_parent: bool,
    /// A socket that listens already, of the service manager: it is used, and the rest
    /// of these options is for who made it.
    pub inherited: Option<InheritedListener>,
}

impl Default for BindOptions {
    fn default() -> BindOptions {
        BindOptions { mode: 0o660, group: None, create_parent: false, inherited: None }
    }
}

/// A group of users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Group {
    /// The group has this name.
    Name(String),
    /// The group has this number. Windows has none.
    Id(u32),
}
