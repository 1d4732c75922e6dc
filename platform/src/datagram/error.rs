//! Errors of opening the link's sockets, in words that say what to do.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use super::advice;

/// Reason for which the link's sockets cannot be opened; the message is one line.
#[derive(Debug)]
pub enum DatagramError {
    /// The group is an ordinary address.
    NotAGroup(IpAddr),
    /// The unicast port is the group's.
    SamePort(u16),
    /// No interface has this name or address.
    NoSuchInterface {
        /// Name or address that was asked for.
        wanted: String,
        /// The names of those there are.
        present: Vec<String>,
    },
    /// The interface that was asked for cannot be used.
    Unusable {
        /// Name of the interface.
        interface: String,
        /// Reason, and what to do.
        why: String,
    },
    /// The machine has not even a loopback interface that is up.
    NoInterface,
    /// Another program has the group's port for itself.
    GroupPortTaken(SocketAddr),
    /// Another program has the unicast port.
    UnicastPortTaken(u16),
    /// The system refused a step.
    Setup {
        /// The step that failed.
        step: &'static str,
        /// Error of the system.
        error: io::Error,
    },
}

impl DatagramError {
    /// Makes the error of a step, for `map_err`.
    pub(super) fn setup(step: &'static str) -> impl FnOnce(io::Error) -> DatagramError {
        move |error| DatagramError::Setup { step, error }
    }
}

impl fmt::Display for DatagramError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DatagramError::NotAGroup(address) => write!(
                formatter,
                "{address} is not a multicast group; take one of 239.0.0.0/8 or ff15::/16"
            ),
            DatagramError::SamePort(port) => write!(
                formatter,
                "the unicast port {port} is the group's port; take another one, or none to have \
                 a free one chosen"
            ),
            DatagramError::NoSuchInterface { wanted, present } => write!(
                formatter,
                "no network interface has the name or address {wanted}; there are: {}",
                present.join(", ")
            ),
            DatagramError::Unusable { interface, why } => {
                write!(formatter, "the network interface {interface} cannot be used: {why}")
            }
            DatagramError::NoInterface => write!(
                formatter,
                "no network interface is up, not even loopback; {}",
                advice::START_LOOPBACK
            ),
            DatagramError::GroupPortTaken(group) => write!(
                formatter,
                "another program has UDP port {} and does not share it; {} shows which; \
                 stop it or choose another port for the group",
                group.port(),
                advice::WHO_HAS_A_PORT
            ),
            DatagramError::UnicastPortTaken(port) => write!(
                formatter,
                "UDP port {port} is taken; {} shows by whom; choose another unicast port, or none \
                 to have a free one chosen",
                advice::WHO_HAS_A_PORT
            ),
            DatagramError::Setup { step, error } => {
                write!(formatter, "the link's sockets cannot be opened: {step}: {error}")
            }
        }
    }
}

impl std::error::Error for DatagramError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DatagramError::Setup { error, .. } => Some(error),
            _ => None,
        }
    }
}
