//! Named pipes of Windows.
//!
//! ```text
//!   Global\netcluster-NAME    a mutex, held as long as a broker lives
//!   \\.\pipe\NAME             any number of instances: one per connection, and those
//!                             that wait for the next clients, of every shard
//! ```
//! The system knows no listening pipe: it has instances, each for one client, and the
//! name exists as long as one of them does. Whoever makes the first one owns the name;
//! the broker asks for just that. It also holds a mutex, which tells at once whether a
//! broker lives: the name itself outlives one as long as a client holds its old end.
//!
//! Who may connect is said by the security descriptor of the first instance: the
//! broker's own user, administrators and the system; a group if one is given. Nobody
//! from another machine.
//!
//! Invariant: a new instance for each connection; one that was used is never used again.

pub(crate) mod accounts;
pub(crate) mod descriptor;
pub(crate) mod name;
mod peer;
mod socket;

use std::ffi::OsStr;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_ALREADY_EXISTS, GetLastError, INVALID_HANDLE_VALUE,
};
use windows_sys::Win32::Security::SECURITY_ATTRIBUTES;
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_FIRST_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED, PIPE_ACCESS_DUPLEX,
};
use windows_sys::Win32::System::Pipes::{
    CreateNamedPipeW, GetNamedPipeServerProcessId, PIPE_READMODE_BYTE, PIPE_REJECT_REMOTE_CLIENTS,
    PIPE_TYPE_BYTE, PIPE_UNLIMITED_INSTANCES, PIPE_WAIT,
};
use windows_sys::Win32::System::Threading::CreateMutexW;

use super::{BindError, BindOptions, Group, SEND_BUFFER_BYTES};
use crate::Peer;
pub use accounts::account_name;
use descriptor::Descriptor;
use name::Name;
pub use socket::LocalSocket;

/// The longest name of a pipe, with what stands before it.
pub const MAX_PATH_BYTES: usize = 256;

/// Advice on a socket's path, for error messages.
pub(super) const PATH_ADVICE: &str =
    r"give the name of a pipe, such as \\.\pipe\netcluster-default";

/// Advice for users who may not create the pipe.
pub(super) const PERMISSION_ADVICE: &str =
    "another program still has a pipe of that name open: end it";

/// Number of instances that wait for clients, of all shards together: so many can connect
/// at
/// the same moment.
const PENDING_INSTANCES: usize = 256;

/// Smallest number of a shard's instances that wait.
const MIN_PENDING_INSTANCES: usize = 32;

/// Bit of a socket's mode that lets others than owner and group connect.
const OTHERS_BIT: u32 = 0o002;

/// Longest time that a pipe whose broker is gone may still have its name.
const DYING_PREDECESSOR: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The name of a pipe, owned: what all shards make their instances from.
#[derive(Debug)]
struct Owned {
    path: PathBuf,
    wide: Vec<u16>,
    descriptor: Descriptor,
    _mutex: OwnedHandle,
}

/// A listener of the service manager: there is none that passes pipes.
#[derive(Clone, Debug)]
pub enum InheritedListener {}

impl InheritedListener {
    /// Finds none.
    ///
    /// # Errors
    /// None.
    pub fn take() -> Result<Option<InheritedListener>, super::InheritError> {
        Ok(None)
    }

    /// Path at which it listens.
    pub fn path(&self) -> &Path {
        match *self {}
    }
}

/// Right of one shard to accept on a pipe. The name is free when all are dropped.
#[derive(Debug)]
pub struct LocalListener {
    name: Arc<Owned>,
    /// First instance of all; with it clients can already connect.
    first: Option<OwnedHandle>,
    pending: usize,
}

impl LocalListener {
    /// Takes the name `path` and makes the first instance.
    ///
    /// # Errors
    /// Each variant of [`BindError`] says what to do about it.
    pub fn bind(path: &Path, options: &BindOptions) -> Result<LocalListener, BindError> {
        let name = Name::of(path)?;
        let group = options.group.as_ref().map(group_identifier).transpose()?;
        let owner = accounts::own_identifier()
            .map_err(|error| BindError::system("tell which user this is", error))?;
        let others = options.mode & OTHERS_BIT != 0;
        let descriptor = Descriptor::new(&owner, group.as_deref(), others)
            .map_err(|error| BindError::system("say who may use the pipe", error))?;
        let mutex = lock(&name, path)?;
        let wide = name::wide(name.pipe());
        let name = Owned { path: path.to_owned(), wide, descriptor, _mutex: mutex };
        let first = Some(name.first(path)?);
        Ok(LocalListener { name: Arc::new(name), first, pending: PENDING_INSTANCES })
    }

    /// Flaw that lets somebody else put another pipe in this one's place: none does,
    /// since
    /// nobody else may make an instance of it.
    pub fn flaw(&self) -> Option<String> {
        None
    }

    /// Has no note for a successor.
    pub fn note(&self) -> Option<Note> {
        None
    }

    /// A listener for each of so many shards: all of them accept.
    pub fn for_shards(mut self, shards: u16) -> Vec<LocalListener> {
        let pending = (PENDING_INSTANCES / usize::from(shards.max(1))).max(MIN_PENDING_INSTANCES);
        let share = |_| LocalListener { name: Arc::clone(&self.name), first: None, pending };
        let mut all: Vec<LocalListener> = (0..shards).map(share).collect();
        if let Some(first) = all.first_mut() {
            first.first = self.first.take();
        }
        all
    }

    /// Name at which it listens.
    pub fn path(&self) -> &Path {
        &self.name.path
    }

    /// Has no keeper: a pipe has no file that somebody could remove.
    pub fn keeper(&self, _options: &BindOptions) -> Option<SocketKeeper> {
        None
    }

    /// Number of instances that are to wait for clients.
    pub(crate) fn pending(&self) -> usize {
        self.pending
    }

    /// An instance for the next client, for overlapped use.
    pub(crate) fn instance(&mut self) -> io::Result<OwnedHandle> {
        match self.first.take() {
            Some(first) => Ok(first),
            None => self.name.instance(0),
        }
    }
}

impl Owned {
    /// Makes the first instance. It waits for a name that is still taken.
    fn first(&self, path: &Path) -> Result<OwnedHandle, BindError> {
        let start = Instant::now();
        loop {
            match self.instance(FILE_FLAG_FIRST_PIPE_INSTANCE) {
                Ok(handle) => return Ok(handle),
                // A client that still holds its end of a broker that is gone, for a
                // moment; or another program.
                Err(error) if error.raw_os_error() == Some(ERROR_ACCESS_DENIED as i32) => {
                    if start.elapsed() > DYING_PREDECESSOR {
                        return Err(BindError::permission(path));
                    }
                    thread::sleep(LOOK_AGAIN);
                }
                Err(error) => return Err(BindError::system("create the pipe", error)),
            }
        }
    }

    fn instance(&self, flags: u32) -> io::Result<OwnedHandle> {
        let attributes = SECURITY_ATTRIBUTES {
            nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
            lpSecurityDescriptor: self.descriptor.as_ptr(),
            bInheritHandle: 0,
        };
        // SAFETY: the name is terminated, and the attributes point to a descriptor that
        // lives as long as `self`.
        let handle = unsafe {
            CreateNamedPipeW(
                self.wide.as_ptr(),
                PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED | flags,
                PIPE_TYPE_BYTE | PIPE_READMODE_BYTE | PIPE_WAIT | PIPE_REJECT_REMOTE_CLIENTS,
                PIPE_UNLIMITED_INSTANCES,
                SEND_BUFFER_BYTES as u32,
                SEND_BUFFER_BYTES as u32,
                0,
                &raw const attributes,
            )
        };
        if handle == INVALID_HANDLE_VALUE {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the system just made this handle for us alone.
        Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
    }
}

/// Pipe beside that of another broker: the name of a pipe cannot be given away.
#[derive(Debug)]
pub enum HeirListener {}

impl HeirListener {
    /// Refuses to listen.
    ///
    /// # Errors
    /// Always.
    pub fn bind(_path: &Path, _options: &BindOptions) -> Result<HeirListener, BindError> {
        Err(BindError::NoSuccession)
    }

    /// Name of its file.
    pub fn name(&self) -> &OsStr {
        match *self {}
    }

    /// Waits until the other broker is gone.
    ///
    /// # Errors
    /// None.
    pub fn own(self, _within: Duration) -> Result<LocalListener, BindError> {
        match self {}
    }
}

/// Keeper that would make a pipe again.
#[derive(Debug)]
pub enum SocketKeeper {}

impl SocketKeeper {
    /// Looks for it.
    ///
    /// # Errors
    /// None.
    pub fn check(&mut self) -> Result<Option<LocalListener>, BindError> {
        match *self {}
    }

    /// Name of the pipe.
    pub fn path(&self) -> &Path {
        match *self {}
    }

    /// Gives the name to a successor.
    ///
    /// # Errors
    /// None.
    pub fn hand_over(&mut self, _heir: &OsStr) -> Result<(), BindError> {
        match *self {}
    }
}

/// The process that has the pipe `path`, if the system tells. It need not answer.
pub fn listening_pid(path: &Path) -> Option<u32> {
    let name = crate::pipe::pipe_name(path).ok()?;
    let pipe = crate::pipe::open(&name, Duration::ZERO).ok()?;
    let mut pid = 0;
    // SAFETY: the handle is open and the result valid for writing.
    let told = unsafe { GetNamedPipeServerProcessId(pipe.as_raw_handle(), &mut pid) };
    (told != 0 && pid != 0).then_some(pid)
}

/// Holds the mutex that belongs to a pipe.
fn lock(name: &Name, path: &Path) -> Result<OwnedHandle, BindError> {
    let mutex = name::wide(&name.mutex());
    // SAFETY: the name is terminated, and the default attributes are asked for.
    let (handle, error) = unsafe {
        let handle = CreateMutexW(std::ptr::null(), 0, mutex.as_ptr());
        (handle, GetLastError())
    };
    let in_use = || BindError::InUse { path: path.to_owned(), pid: listening_pid(path) };
    if handle.is_null() {
        return Err(match error {
            // It is another user's.
            ERROR_ACCESS_DENIED => in_use(),
            _ => BindError::system(
                "create the pipe's mutex",
                io::Error::from_raw_os_error(error as i32),
            ),
        });
    }
    // SAFETY: the system just made this handle for us alone.
    let handle = unsafe { OwnedHandle::from_raw_handle(handle) };
    if error == ERROR_ALREADY_EXISTS { Err(in_use()) } else { Ok(handle) }
}

/// The security identifier of a group.
fn group_identifier(group: &Group) -> Result<String, BindError> {
    match group {
        Group::Id(group) => Err(BindError::GroupNumber { group: *group }),
        Group::Name(name) => accounts::identifier_of(name)
            .map_err(|_| BindError::UnknownGroup { name: name.clone() }),
    }
}

/// Describes this process, as the peer of its own connections.
pub fn own_user() -> Peer {
    let user = accounts::own_identifier().ok().map(Arc::new);
    Peer { pid: std::process::id(), user, ..Peer::UNKNOWN }
}

/// Returns what is known of a process of a user, by his security identifier or name.
///
/// # Errors
/// There is none.
pub fn find_user(text: &str) -> Result<Peer, String> {
    let identifier =
        if text.starts_with("S-1-") { Ok(text.to_owned()) } else { accounts::identifier_of(text) };
    let unknown =
        |_| format!("there is no user {text:?} here: give a name or an identifier (S-1-…)");
    let user = identifier.map_err(unknown)?;
    Ok(Peer { user: Some(Arc::new(user)), ..Peer::UNKNOWN })
}

/// Returns the number of a group: on Windows groups have none, and a peer's are not known.
///
/// # Errors
/// Always.
pub fn find_group(_text: &str) -> Result<u32, String> {
    Err("the groups of clients are not known on Windows: name users".to_owned())
}

/// Tells how many handles a process may have: Windows has no limit that could be raised.
///
/// # Errors
/// None.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    Ok(u64::MAX)
}

/// Returns the limit of open handles: there is none.
pub fn descriptor_limit() -> u64 {
    u64::MAX
}

/// Note that a broker would leave for its successor: pipes have no file to leave it in.
#[derive(Debug)]
pub enum Note {}

impl Note {
    /// Reads what the predecessor left.
    pub fn read(&self) -> Vec<u8> {
        match *self {}
    }

    /// Leaves this instead.
    ///
    /// # Errors
    /// None.
    pub fn write(&self, _note: &[u8]) -> io::Result<()> {
        match *self {}
    }

    /// Leaves this, and the name.
    ///
    /// # Errors
    /// None.
    pub fn leave(&self, _note: &[u8]) -> io::Result<()> {
        match *self {}
    }
}

/// A pipe has no end of one direction. What was written can still be read when it is
/// closed.
pub(crate) fn end_sending(_socket: &LocalSocket) -> bool {
    false
}

/// Does nothing: the other end of a pipe cannot be kept from writing.
pub(crate) fn end_receiving(_socket: &LocalSocket) -> bool {
    false
}

#[cfg(test)]
mod tests;
