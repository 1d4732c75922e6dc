//! Users and groups: their numbers by name, and the groups of a peer.

use std::ffi::{CString, c_int};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use super::{BindError, Group};
use crate::Peer;

/// The room for an entry of a user or a group; a longer one makes the system ask for more.
const ENTRY_BYTES: usize = 16 << 10;

/// The most room for such an entry, 1 MiB: tens of thousands of members.
const MAX_ENTRY_BYTES: usize = 1 << 20;

/// Other groups of a peer that there is room for at first.
#[cfg(any(target_os = "linux", target_os = "android"))]
const FEW_GROUPS: usize = 64;

/// Other groups that Linux lets a process have.
#[cfg(any(target_os = "linux", target_os = "android"))]
const MAX_GROUPS: usize = 65_536;

/// The number of a group.
pub(super) fn group_id(group: &Group) -> Result<u32, BindError> {
    match group {
        Group::Id(id) => Ok(*id),
        Group::Name(name) => {
            group_by_name(name).ok_or_else(|| BindError::UnknownGroup { name: name.clone() })
        }
    }
}

/// Returns the number of a group, by its number or name.
///
/// # Errors
/// There is none.
pub fn find_group(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().or_else(|| group_by_name(text));
    number.ok_or_else(|| format!("there is no group {text:?} here"))
}

/// Returns what is known of a process of a user, by his number or name: `uid`, and `gid`
/// if the name is known.
///
/// # Errors
/// There is none.
pub fn find_user(text: &str) -> Result<Peer, String> {
    if let Ok(uid) = text.parse() {
        return Ok(Peer { uid, ..Peer::UNKNOWN });
    }
    let found = user_by_name(text);
    let (uid, gid) = found.ok_or_else(|| format!("there is no user {text:?} here"))?;
    Ok(Peer { uid, gid, ..Peer::UNKNOWN })
}

fn group_by_name(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: an all-zero entry is a valid value: null pointers and zeros.
    let mut entry: libc::group = unsafe { std::mem::zeroed() };
    let mut found = std::ptr::null_mut();
    with_room(|room| {
        // SAFETY: the name is terminated, and all results are valid for writing with the
        // length given.
        unsafe {
            libc::getgrnam_r(name.as_ptr(), &mut entry, room.as_mut_ptr(), room.len(), &mut found)
        }
    })?;
    (!found.is_null()).then_some(entry.gr_gid)
}

/// Returns the numbers of a user and his group.
fn user_by_name(name: &str) -> Option<(u32, u32)> {
    let name = CString::new(name).ok()?;
    // SAFETY: an all-zero entry is a valid value: null pointers and zeros.
    let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
    let mut found = std::ptr::null_mut();
    with_room(|room| {
        // SAFETY: the name is terminated, and all results are valid for writing with the
        // length given.
        unsafe {
            libc::getpwnam_r(name.as_ptr(), &mut entry, room.as_mut_ptr(), room.len(), &mut found)
        }
    })?;
    (!found.is_null()).then_some((entry.pw_uid, entry.pw_gid))
}

/// Calls with more and more room for strings until there is enough. The numbers that are
/// found do not point into it.
fn with_room(mut call: impl FnMut(&mut [libc::c_char]) -> c_int) -> Option<()> {
    let mut bytes = ENTRY_BYTES;
    loop {
        match call(&mut vec![0; bytes]) {
            0 => return Some(()),
            libc::ERANGE if bytes < MAX_ENTRY_BYTES => bytes *= 4,
            _ => return None,
        }
    }
}

/// Returns the other groups of the process at the other end, as they were when it connected.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn groups_of_peer(fd: &OwnedFd) -> Option<Arc<Vec<u32>>> {
    let mut few = [0_u32; FEW_GROUPS];
    match peer_groups(fd, &mut few) {
        Ok(0) => None,
        Ok(count) => Some(Arc::new(few[..count].to_vec())),
        Err(count) => {
            let mut many = vec![0_u32; count.min(MAX_GROUPS)];
            let count = peer_groups(fd, &mut many).ok()?;
            many.truncate(count);
            Some(Arc::new(many))
        }
    }
}

/// Reads the groups of a peer; returns how many there are, as an error if there are more
/// than room.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn peer_groups(fd: &OwnedFd, groups: &mut [u32]) -> Result<usize, usize> {
    let mut bytes = size_of_val(groups) as libc::socklen_t;
    // SAFETY: the descriptor is open, and the result valid for writing at this length.
    let outcome = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut bytes,
        )
    };
    let count = bytes as usize / size_of::<u32>();
    match outcome {
        0 => Ok(count.min(groups.len())),
        // Older kernels do not tell; then the length is what it was.
        _ if count > groups.len() => Err(count),
        _ => Ok(0),
    }
}

/// Returns the groups of the process at the other end, sixteen at the most: macOS tells no
/// more.
#[cfg(target_vendor = "apple")]
pub(super) fn groups_of_peer(fd: &OwnedFd) -> Option<Arc<Vec<u32>>> {
    // SAFETY: an all-zero value is valid: numbers alone.
    let mut credentials: libc::xucred = unsafe { std::mem::zeroed() };
    let mut bytes = size_of::<libc::xucred>() as libc::socklen_t;
    // SAFETY: the descriptor is open, and the result valid for writing at this length.
    let outcome = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_LOCAL,
            libc::LOCAL_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut bytes,
        )
    };
    let count = usize::try_from(credentials.cr_ngroups).unwrap_or(0);
    let groups = credentials.cr_groups.get(..count).filter(|_| outcome == 0)?;
    Some(Arc::new(groups.to_vec()))
}

/// Returns nothing: other systems tell no more than one group.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
pub(super) fn groups_of_peer(_fd: &OwnedFd) -> Option<Arc<Vec<u32>>> {
    None
}
