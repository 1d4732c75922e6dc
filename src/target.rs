//! A target: one client's outbound queue, wherever in the broker it is.

use std::fmt;

/// Names a connection of one shard. `client` is never used twice in the life
/// of a broker, so a target that outlives its connection names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// The shard that owns the connection.
    pub shard: u16,
    /// The connection's place in that shard's table.
    pub conn: u32,
    /// The client's number, which is also the place's generation.
    pub client: u32,
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "client {} (shard {})", self.client, self.shard)
    }
}
