//! Errors of setting up a local listener, and what to do about them.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::{MAX_PATH_BYTES, system};

/// Reason for which a socket that was passed cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InheritError(pub(super) String);

impl fmt::Display for InheritError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}: the unit of the socket must have one ListenStream=, the path of a local socket",
            self.0
        )
    }
}

impl std::error::Error for InheritError {}

/// Reason for which [`LocalListener::bind`](super::LocalListener::bind) failed. The
/// message
/// says what to do.
#[derive(Debug)]
pub enum BindError {
    /// The path does not fit into a socket address.
    PathTooLong {
        /// The path.
        path: PathBuf,
    },
    /// The path is empty, relative to nothing, holds a zero byte, or is no pipe's.
    PathInvalid {
        /// The path.
        path: PathBuf,
    },
    /// The directory of the socket does not exist.
    MissingDirectory {
        /// The directory.
        directory: PathBuf,
    },
    /// The directory was there already, and somebody else may control it.
    UntrustedDirectory {
        /// The directory.
        directory: PathBuf,
        /// The directory's flaw: "it …".
        flaw: String,
    },
    /// The directory or its files may not be written to, or the pipe not created.
    Permission {
        /// The path.
        path: PathBuf,
    },
    /// The lock file is another user's, and may not be removed.
    ForeignLock {
        /// The lock file.
        path: PathBuf,
        /// Owner of the file.
        owner: u32,
    },
    /// A live broker listens there.
    InUse {
        /// The path.
        path: PathBuf,
        /// Process of the broker, if that is known.
        pid: Option<u32>,
    },
    /// A broker can take no other's place here.
    NoSuccession,
    /// The broker's socket is gone, and something else has its name.
    Replaced {
        /// The path.
        path: PathBuf,
    },
    /// Something that is no socket has that name; it is not touched.
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The system has no group of that name.
    UnknownGroup {
        /// The name.
        name: String,
    },
    /// Groups have no numbers on this system.
    GroupNumber {
        /// The number.
        group: u32,
    },
    /// The socket may not be given to that group.
    GroupRefused {
        /// The path.
        path: PathBuf,
        /// The group's number.
        group: u32,
    },
    /// Anything else.
    System {
        /// Action that was tried: "cannot …".
        action: &'static str,
        /// Error of the system.
        source: io::Error,
    },
}

impl BindError {
    pub(super) fn permission(path: &Path) -> BindError {
        BindError::Permission { path: path.to_owned() }
    }

    pub(super) fn system(action: &'static str, error: impl Into<io::Error>) -> BindError {
        BindError::System { action, source: error.into() }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindError::PathTooLong { path } => write!(
                formatter,
                "the socket path {} is {} bytes long, but the system allows {MAX_PATH_BYTES}: \
                 choose a shorter one",
                path.display(),
                path.as_os_str().len(),
            ),
            BindError::PathInvalid { path } => write!(
                formatter,
                "{} cannot be a socket path: {}",
                path.display(),
                system::PATH_ADVICE,
            ),
            BindError::MissingDirectory { directory } => write!(
                formatter,
                "the directory {} does not exist: create it, or choose another socket path",
                directory.display(),
            ),
            BindError::Permission { path } => write!(
                formatter,
                "no permission to create {}: {}, or choose another socket path",
                path.display(),
                system::PERMISSION_ADVICE,
            ),
            BindError::UntrustedDirectory { directory, flaw } => write!(
                formatter,
                "anybody could have made {}, and it {flaw}: remove it, or choose another socket \
                 path with --socket",
                directory.display(),
            ),
            BindError::ForeignLock { path, owner } => write!(
                formatter,
                "{} belongs to user {owner}, who could keep a broker from starting: have it \
                 removed, or choose another socket path",
                path.display(),
            ),
            BindError::InUse { path, pid } => {
                let pid = pid.map(|pid| format!(" as pid {pid}")).unwrap_or_default();
                write!(
                    formatter,
                    "a broker is already running{pid} on {}: stop it first, or choose another \
                     socket path",
                    path.display(),
                )
            }
            BindError::NoSuccession => formatter.write_str(
                "a broker can take the place of another one on Linux only: end that one, then start \
                 this one",
            ),
            BindError::Replaced { path } => write!(
                formatter,
                "something else has taken the place of {}, and no client finds this broker any \
                 more: move it away, and the socket is made again",
                path.display(),
            ),
            BindError::NotASocket { path } => write!(
                formatter,
                "{} exists and is not a socket: move it away, or choose another socket path",
                path.display(),
            ),
            BindError::UnknownGroup { name } => write!(
                formatter,
                "there is no group named {name}: create it, or give the socket another group",
            ),
            BindError::GroupNumber { group } => {
                write!(formatter, "{group} is no group here: give a name, such as DOMAIN\\group",)
            }
            BindError::GroupRefused { path, group } => write!(
                formatter,
                "{} may not be given to group {group}: the broker's user must be a member of it \
                 or root",
                path.display(),
            ),
            BindError::System { action, source } => {
                write!(formatter, "cannot {action}: {source}")
            }
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            BindError::System { source, .. } => Some(source),
            _ => None,
        }
    }
}
