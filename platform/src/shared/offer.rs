//! Frames that are sent at once by a connection's socket, with descriptors or without.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use super::ClientMemory;
use super::arena::ArenaSection;

/// Number of descriptors that a client is given.
const DESCRIPTORS: usize = 5;

/// Sends a frame with the descriptors of the arena and of a client's memory. False if there
/// is no room.
pub(crate) fn offer(
    socket: BorrowedFd<'_>,
    frame: &[u8],
    section: &ArenaSection,
    memory: &ClientMemory,
) -> io::Result<bool> {
    let files = section.arena().file().zip(memory.descriptors());
    let Some((arena, [region, broker, client, room])) = files else {
        return Err(io::Error::other("memory within one process is no other's"));
    };
    send_whole(socket, frame, &[arena, region, broker, client, room])
}

/// Sends a frame, whole or not at all. False if there is no room.
pub(crate) fn send_frame(socket: BorrowedFd<'_>, frame: &[u8]) -> io::Result<bool> {
    send_whole(socket, frame, &[])
}

fn send_whole(
    socket: BorrowedFd<'_>,
    frame: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<bool> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        let fits = beside.push(SendAncillaryMessage::ScmRights(descriptors));
        assert!(fits, "the space is made for them");
    }
    match send_now(socket, &[IoSlice::new(frame)], &mut beside)? {
        Some(bytes) if bytes == frame.len() => Ok(true),
        // A local socket takes a short frame as one piece of memory.
        Some(_) => Err(io::Error::other("the socket took a part of a short frame")),
        None => Ok(false),
    }
}

/// Writes what there is room for; `None` if there is no room.
pub(crate) fn send_slices(
    socket: BorrowedFd<'_>,
    list: &[IoSlice<'_>],
) -> io::Result<Option<usize>> {
    send_now(socket, list, &mut SendAncillaryBuffer::default())
}

/// Writes what there is room for, and what goes beside it; `None` if there is no room.
fn send_now(
    socket: BorrowedFd<'_>,
    list: &[IoSlice<'_>],
    beside: &mut SendAncillaryBuffer<'_, '_, '_>,
) -> io::Result<Option<usize>> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    match retry_on_intr(|| rustix::net::sendmsg(socket, list, beside, flags)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Errno::AGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
