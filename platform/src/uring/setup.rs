//! Setting a ring up, and saying why not.
//!
//! Invariant: nothing is assumed of the kernel that was not asked for: either all
//! that the back end uses is there, or [`Unsupported`] says what is missing.

use std::fmt;
use std::io;

use io_uring::{IoUring, Probe, opcode};

use super::ring::Ring;
use crate::ArenaSection;

/// Settings of a ring.
#[derive(Clone, Debug)]
pub struct UringConfig {
    /// Receive buffers. Rounded up to a power of two, as the kernel needs it.
    pub buffers: usize,
    /// The size of each, a multiple of 4096.
    pub buffer_bytes: usize,
    /// Whether a buffer is consumed piece by piece, so that a small message does
    /// not pin all of it. Only from Linux 6.12 on; ignored before. Off by default:
    /// on 6.18 it took 40–80 % more CPU per byte for writes of 16 KiB and more, and
    /// gained nothing clear with 500 connections of small messages.
    pub incremental: bool,
    /// Operations that are queued before they must be submitted.
    pub entries: u32,
    /// Completions that fit into their queue. More are not lost, only slower.
    pub completion_entries: u32,
    /// Whether hang-ups are watched by an operation of their own. Only for
    /// measurements without: kernels miss the end of a stream now and then.
    pub watch_hang_up: bool,
    /// The part of the broker's arena that is received to; without, no memory is shared.
    pub arena: Option<ArenaSection>,
}

impl Default for UringConfig {
    fn default() -> UringConfig {
        UringConfig {
            // 2 MiB together: what a turn receives and what a few laggards pin. Twice
            // as much was a little slower with large events.
            buffers: 32,
            buffer_bytes: 64 << 10,
            incremental: false,
            entries: 512,
            completion_entries: 8192,
            watch_hang_up: true,
            arena: None,
        }
    }
}

/// Reason for which io_uring cannot be used here; the message is one line and says what
/// would
/// allow it.
#[derive(Debug)]
pub enum Unsupported {
    /// The system call is forbidden.
    Forbidden {
        /// The value of `kernel.io_uring_disabled`, if it is there.
        disabled: Option<u8>,
    },
    /// The kernel does not know io_uring.
    Missing,
    /// The kernel lacks something that the back end needs.
    TooOld {
        /// The feature that the kernel lacks.
        lacks: &'static str,
    },
    /// The limit of locked memory is too low for this kernel.
    LockedMemory,
    /// The choice of a user refuses it, with the reason given.
    Refused(&'static str),
    /// Anything else.
    Setup(io::Error),
}

impl Unsupported {
    pub(super) fn setup(error: impl Into<io::Error>) -> Unsupported {
        Unsupported::Setup(error.into())
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unsupported::Forbidden { disabled: Some(2) } => write!(
                formatter,
                "io_uring is switched off on this machine; `sysctl kernel.io_uring_disabled=0` \
                 allows it"
            ),
            Unsupported::Forbidden { disabled: Some(1) } => write!(
                formatter,
                "io_uring is reserved for privileged processes on this machine; `sysctl \
                 kernel.io_uring_disabled=0`, or adding the broker's group to \
                 kernel.io_uring_group, allows it"
            ),
            Unsupported::Forbidden { .. } => write!(
                formatter,
                "io_uring is forbidden by this container's or service's system call filter; a \
                 seccomp profile that permits io_uring_setup, io_uring_enter and \
                 io_uring_register allows it"
            ),
            Unsupported::Missing => write!(
                formatter,
                "the kernel has no io_uring (or a system call filter hides it); Linux 6.1 or \
                 later with CONFIG_IO_URING has it"
            ),
            Unsupported::TooOld { lacks } => {
                write!(formatter, "the kernel's io_uring lacks {lacks}; Linux 6.1 or later has it")
            }
            Unsupported::LockedMemory => write!(
                formatter,
                "the limit of locked memory is too low for io_uring; `ulimit -l 8192` \
                 (LimitMEMLOCK=8M in a systemd unit) or more allows it"
            ),
            Unsupported::Refused(reason) => write!(formatter, "io_uring is not used: {reason}"),
            Unsupported::Setup(error) => write!(formatter, "io_uring cannot be set up: {error}"),
        }
    }
}

impl std::error::Error for Unsupported {}

/// Makes a ring for the calling thread and checks that it can do all we need.
pub(super) fn build(config: &UringConfig) -> Result<Ring, Unsupported> {
    let inner = IoUring::builder()
        .setup_cqsize(config.completion_entries)
        .setup_clamp()
        // One failed operation must not keep those behind it from being submitted.
        .setup_submit_all()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .dontfork()
        .build(config.entries)
        .map_err(|error| refusal(&error, io_uring_disabled()))?;
    require(inner.params().is_feature_ext_arg(), "timeouts for waiting")?;
    require(inner.params().is_feature_nodrop(), "completions that are never dropped")?;
    require(inner.params().is_feature_submit_stable(), "arguments read at submission")?;
    let mut probe = Probe::new();
    inner.submitter().register_probe(&mut probe).map_err(Unsupported::setup)?;
    let needed = [
        (opcode::RecvMulti::CODE, "receive"),
        (opcode::SendMsg::CODE, "sendmsg"),
        (opcode::RecvMsgMulti::CODE, "recvmsg"),
        (opcode::PollAdd::CODE, "poll"),
        (opcode::AsyncCancel2::CODE, "cancel"),
        (opcode::Read::CODE, "read"),
    ];
    for (code, name) in needed {
        require(probe.is_supported(code), name)?;
    }
    Ok(Ring::new(inner))
}

fn require(there: bool, lacks: &'static str) -> Result<(), Unsupported> {
    if there { Ok(()) } else { Err(Unsupported::TooOld { lacks }) }
}

/// Interprets the error of `io_uring_setup`.
fn refusal(error: &io::Error, disabled: Option<u8>) -> Unsupported {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => Unsupported::Forbidden { disabled },
        Some(libc::ENOSYS) => Unsupported::Missing,
        // The flags asked for came with 6.0 and 6.1.
        Some(libc::EINVAL) => Unsupported::TooOld { lacks: "single-issuer rings" },
        Some(libc::ENOMEM) => Unsupported::LockedMemory,
        _ => Unsupported::Setup(io::Error::from_raw_os_error(error.raw_os_error().unwrap_or(0))),
    }
}

/// The value of the sysctl that switches io_uring off.
fn io_uring_disabled() -> Option<u8> {
    std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explain(errno: i32, disabled: Option<u8>) -> String {
        refusal(&io::Error::from_raw_os_error(errno), disabled).to_string()
    }

    #[test]
    fn each_refusal_says_what_would_allow_it_on_one_line() {
        let lines = [
            (explain(libc::EPERM, Some(2)), "io_uring_disabled=0"),
            (explain(libc::EPERM, Some(1)), "io_uring_group"),
            (explain(libc::EPERM, Some(0)), "seccomp"),
            (explain(libc::EPERM, None), "seccomp"),
            (explain(libc::ENOSYS, None), "6.1"),
            (explain(libc::EINVAL, None), "6.1"),
            (explain(libc::ENOMEM, None), "ulimit -l"),
        ];
        for (line, remedy) in lines {
            assert!(line.contains(remedy), "{line}");
            assert!(!line.contains('\n'), "{line}");
        }
    }
}
