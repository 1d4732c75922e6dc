//! Frames that are sent at once by a connection's socket, with descriptors or without.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
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
    let [region, broker, client, room] = memory.descriptors();
    let all: [BorrowedFd<'_>; DESCRIPTORS] = [section.arena().file(), region, broker, client, room];
    send_whole(socket, frame, &all)
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
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    loop {
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            let fits = control.push(SendAncillaryMessage::ScmRights(descriptors));
            assert!(fits, "the space is made for them");
        }
        return match rustix::net::sendmsg(socket, &[IoSlice::new(frame)], &mut control, flags) {
            Ok(bytes) if bytes == frame.len() => Ok(true),
            // A local socket takes a short frame as one piece of memory.
            Ok(_) => Err(io::Error::other("the socket took a part of a short frame")),
            Err(Errno::AGAIN) => Ok(false),
            Err(Errno::INTR) => continue,
            Err(error) => Err(error.into()),
        };
    }
}
