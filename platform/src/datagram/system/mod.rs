//! Handling of datagrams as it differs by system. Each sibling supplies:
//!
//! - `set_options`: groups of other sockets do not count; drops are told; nothing
//!   is ever fragmented; what others answer ends no socket;
//! - `set_gro`, `probe_gso`: whether the kernel joins and cuts trains;
//!   `may_be_uncut`: whether an error may say that it cannot after all;
//! - `share_port`, `share_from_now_on`, `keep_port`, `is_taken`: several brokers on
//!   the group's port, one on its own;
//! - `set_multicast_interface`, `join`, `leave`, `is_full`: groups;
//! - `force_buffer`: more than the limit allows, for who may;
//! - `mtu_bytes` of an interface, `MESSAGE_TOO_LONG` what an error says of longer ones;
//! - `send_train`, `send_each`, `receive`: one system call each, where there is one;
//! - `set_packet_info`, `sender`, `next_message`, `control_value`: what is told
//!   about a datagram.
//!
//! The rest is shared. No call blocks, whatever the mode of the socket: on
//! Unix each says so, since a ring needs blocking sockets; Windows has no such
//! flag, and there the sockets are in nonblocking mode.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(all(unix, not(target_os = "linux")))]
mod other;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::net::IpAddr;

use super::arrival::{CONTROL_BYTES, NAME_BYTES};
#[cfg(target_os = "linux")]
pub(crate) use linux::{MAX_BATCH, receive};
#[cfg(target_os = "linux")]
pub(super) use linux::{
    control_value, force_buffer, mtu_bytes, probe_gso, send_each, send_train, set_gro, set_options,
};
#[cfg(all(unix, not(target_os = "linux")))]
pub(crate) use other::{MAX_BATCH, receive};
#[cfg(all(unix, not(target_os = "linux")))]
pub(super) use other::{
    control_value, force_buffer, mtu_bytes, probe_gso, send_each, send_train, set_gro, set_options,
};
#[cfg(unix)]
pub(crate) use unix::MESSAGE_TOO_LONG;
#[cfg(unix)]
pub(super) use unix::{
    is_full, is_taken, join, keep_port, leave, may_be_uncut, next_message, sender,
    set_multicast_interface, set_packet_info, share_from_now_on, share_port,
};
#[cfg(windows)]
pub(crate) use windows::{MAX_BATCH, MESSAGE_TOO_LONG, receive};
#[cfg(windows)]
pub(super) use windows::{
    control_value, force_buffer, is_full, is_taken, join, keep_port, leave, may_be_uncut,
    mtu_bytes, next_message, probe_gso, send_each, send_train, sender, set_gro,
    set_multicast_interface, set_options, set_packet_info, share_from_now_on, share_port,
};

/// Whether an error says that a datagram is too long for the interface.
pub(super) fn is_too_long(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(MESSAGE_TOO_LONG)
}

/// A control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Control {
    /// Address that the datagram was sent to, and the interface that it came in by.
    To(IpAddr, u32),
    /// Bytes of each datagram of a train.
    Segment(usize),
    /// Datagrams that the socket has dropped so far, modulo 2³².
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux tells"))]
    Drops(u32),
}

/// Choice of a socket's buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Buffer {
    /// The receive buffer.
    Receive,
    /// The send buffer.
    Send,
}

/// Labels that one receive brought besides the bytes.
#[derive(Clone, Copy, Debug)]
#[repr(align(8))]
pub(crate) struct Label {
    control: [u8; CONTROL_BYTES],
    name: [u8; NAME_BYTES],
    control_bytes: usize,
    name_bytes: usize,
    /// Bytes received.
    pub(crate) length: usize,
    /// Whether there were more.
    pub(crate) truncated: bool,
}

impl Label {
    pub(crate) const EMPTY: Label = Label {
        control: [0; CONTROL_BYTES],
        name: [0; NAME_BYTES],
        control_bytes: 0,
        name_bytes: 0,
        length: 0,
        truncated: false,
    };

    pub(crate) fn name(&self) -> &[u8] {
        &self.name[..self.name_bytes]
    }

    pub(crate) fn control(&self) -> &[u8] {
        &self.control[..self.control_bytes]
    }
}
