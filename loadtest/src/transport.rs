//! Transport of a run's clients: what is asked of the client crate and of the broker, in
//! one place.
//!
//! Memory is offered to clients that have moved some bytes, and never to a bare session
//! (`many`, `raw`): it is for real clients alone.

use std::time::Duration;

use clap::ValueEnum;
use netcluster_client::{Client, ClientBuilder};
use serde::{Deserialize, Serialize};

/// Use of memory that the broker shares with its clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SharedMemory {
    /// Memory is shared where the system and the other side can.
    #[default]
    Auto,
    /// Sockets do all of the work.
    Off,
}

/// Transport of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transport {
    /// Whether events may go through shared memory.
    pub shared_memory: SharedMemory,
    /// Time that client and broker look for events before they sleep, in microseconds.
    pub spin_us: u64,
}

impl Transport {
    /// Transport by sockets alone.
    pub const SOCKETS: Transport = Transport { shared_memory: SharedMemory::Off, spin_us: 0 };

    /// Returns whether memory may be shared.
    pub fn is_shared(self) -> bool {
        self.shared_memory == SharedMemory::Auto
    }

    /// Begins a client with this name.
    pub fn client(self, name: &str) -> ClientBuilder {
        let shared_memory = match self.shared_memory {
            SharedMemory::Auto => netcluster_client::SharedMemory::Auto,
            SharedMemory::Off => netcluster_client::SharedMemory::Off,
        };
        let spin = Duration::from_micros(self.spin_us);
        Client::builder().name(name).shared_memory(shared_memory).spin(spin)
    }
}
