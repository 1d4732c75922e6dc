//! Process at the other end of a pipe.

use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::sync::Arc;

use windows_sys::Win32::System::Pipes::GetNamedPipeClientProcessId;
use windows_sys::Win32::System::Threading::{OpenProcess, PROCESS_QUERY_LIMITED_INFORMATION};

use super::accounts;
use crate::Peer;

/// The client's process and its user, as far as the system tells: it may not tell an
/// ordinary broker about another user's process.
pub(super) fn of(pipe: BorrowedHandle<'_>) -> Peer {
    let mut pid = 0;
    // SAFETY: the pipe is open and the result valid for writing.
    if unsafe { GetNamedPipeClientProcessId(pipe.as_raw_handle(), &raw mut pid) } == 0 {
        return Peer::UNKNOWN;
    }
    // SAFETY: it only asks for a handle.
    let process = unsafe { OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, 0, pid) };
    if process.is_null() {
        return Peer { pid, ..Peer::UNKNOWN };
    }
    // SAFETY: the system just made this handle for us alone.
    let process = unsafe { OwnedHandle::from_raw_handle(process) };
    let user = accounts::user_of(process.as_handle()).ok().map(Arc::new);
    Peer { pid, user, ..Peer::UNKNOWN }
}
