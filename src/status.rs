//! Status of a broker, as the JSON that its clients get (`Client::status`) and
//! `netcluster status` shows: each shard reports, one merges.

use netcluster_platform::{DatagramPlace, DatagramStats, IoStats, MemoryUse};
use serde::{Deserialize, Serialize};

mod answers;

pub use crate::histogram::Histogram;
pub use crate::log::LogStatus;
pub(crate) use answers::{MAX_LISTED, channels_page, clients_page, least_wanted_last, merge};
pub use netcluster_link::status::{
    DropCounters, InboundStreamStatus, LinkCounters, LinkStatus, MissingPair, OutboundStreamStatus,
    PeerCounters, PeerStatus, PeerSummary, StreamChannels, UnlinkedStatus,
};

/// Version of what the answers of a broker look like: it changes when a key gets another
/// meaning or goes, not when one is added.
pub const SCHEMA: u32 = 1;

/// The whole broker, as the JSON in a `stats` frame.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// Version of this schema.
    #[serde(default)]
    pub schema: u32,
    /// Release of the broker.
    pub version: String,
    /// Node id of the broker, in hexadecimal.
    pub node: String,
    /// Process id.
    pub pid: u32,
    /// Milliseconds since the broker started.
    pub uptime_ms: u64,
    /// Back end in use: `uring`, `poll` or `sim`.
    pub backend: String,
    /// Reason why the back end is not the preferred one, if so.
    pub backend_note: Option<String>,
    /// Reason why no memory is shared with clients, if so.
    #[serde(default)]
    pub shared_memory_note: Option<String>,
    /// Totals over all shards.
    pub totals: Totals,
    /// Memory that clients make the broker keep, beyond the receive pools.
    pub memory: Memory,
    /// Lines that the broker's log leaves out.
    #[serde(default)]
    pub log: LogStatus,
    /// Number of clients that each run of events went to; a run is what an emitter sent of
    /// one name at once.
    #[serde(default)]
    pub fan_out: Histogram,
    /// Seconds for which the queue of a client was not empty, as its socket took no more.
    #[serde(default)]
    pub queueing_delay: Histogram,
    /// One entry per channel, those with the most clients if there are very many.
    #[serde(default)]
    pub channels: Vec<ChannelStatus>,
    /// Channels without an entry.
    #[serde(default)]
    pub channels_omitted: u64,
    /// One entry per client, those with the longest queues if there are very many.
    #[serde(default)]
    pub clients: Vec<ClientStatus>,
    /// Clients without an entry.
    #[serde(default)]
    pub clients_omitted: u64,
    /// One entry per shard.
    pub shards: Vec<ShardSummary>,
    /// The link to other machines, if there is one.
    pub link: Option<LinkStatus>,
    /// Sockets of the link.
    pub link_io: Option<LinkIo>,
    /// The latest disconnections by the broker, newest last.
    pub closed_by_broker: Vec<ClosedClient>,
}

/// Counters since the start, and rates over the last second or so.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Totals {
    /// Open connections.
    pub clients: u64,
    /// Connections that use shared memory.
    #[serde(default)]
    pub shared_clients: u64,
    /// Pairs of pattern and client.
    pub listeners: u64,
    /// Events received from clients.
    pub events_in: u64,
    /// Events queued to clients.
    pub events_out: u64,
    /// Events received from other brokers.
    pub link_events_in: u64,
    /// Sends to other brokers that the system refused.
    pub link_send_errors: u64,
    /// Events that nobody listened to.
    pub events_unheard: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Events received per second.
    pub events_in_per_s: f64,
    /// Events queued per second.
    pub events_out_per_s: f64,
    /// Bytes waiting in outbound queues. What several clients get is in memory once, and
    /// counts here for each.
    pub queued_bytes: u64,
    /// Clients whose queues are full: emitters wait for them.
    #[serde(default)]
    pub full: u64,
    /// Clients whose queues lag behind their sockets.
    #[serde(default)]
    pub slow: u64,
    /// Events that `latest` connections lost.
    pub dropped: u64,
    /// Times an emitter was paused.
    pub pauses: u64,
    /// Clients disconnected because they stalled.
    pub stalled: u64,
    /// Clients disconnected by whoever runs the broker.
    #[serde(default)]
    pub kicked: u64,
    /// Clients disconnected because they broke the protocol.
    pub protocol_errors: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections refused because there were too many, or too many of their user.
    pub refused: u64,
    /// Connections that have not said hello.
    pub silent: u64,
    /// Times accepting had to pause.
    pub accept_pauses: u64,
    /// Connections that ended in the middle of a frame.
    pub truncated: u64,
    /// Bytes of straddling headers and names that were copied.
    pub copied_head_bytes: u64,
    /// Bytes copied out for laggards.
    pub copied_out_bytes: u64,
    /// Looks at a pattern trie that the route cache did not save.
    pub route_misses: u64,
}

/// Memory budget. Its parts add up to the bytes in use, as each counter is read at its
/// own moment.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Memory {
    /// Bytes in use.
    pub used_bytes: u64,
    /// Bytes in use by queues: copies, large events, answers, long lists.
    pub queues_bytes: u64,
    /// Bytes in use by connections.
    pub connections_bytes: u64,
    /// Bytes in use by channels and the patterns of their listeners.
    pub patterns_bytes: u64,
    /// Bytes in use by route caches.
    pub routes_bytes: u64,
    /// Bytes of memory that is shared with clients.
    pub shared_bytes: u64,
    /// Limit in bytes: `--max-memory`.
    pub limit_bytes: u64,
}

/// One channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChannelStatus {
    /// Name of the channel.
    pub name: String,
    /// Clients connected to the channel.
    pub clients: u64,
    /// Pairs of pattern and client.
    pub listeners: u64,
    /// Bytes waiting in the queues of its clients.
    #[serde(default)]
    pub queued_bytes: u64,
    /// Events that its clients emitted, those too that have left since the channel had none.
    #[serde(default)]
    pub events_in: u64,
    /// Events queued to its clients, those too that have left since the channel had none.
    #[serde(default)]
    pub events_out: u64,
}

/// Use of the memory that is shared with a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SharedUse {
    /// Size of the ring that the client emits to, in bytes.
    pub ring_bytes: u64,
    /// Bytes in the ring that the broker has not taken.
    pub ring_held_bytes: u64,
    /// Bytes of the arena that the client was sent and has not released.
    pub in_flight_bytes: u64,
}

/// One client.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClientStatus {
    /// Number of the client.
    pub client: u32,
    /// Name of the client, if it gave one.
    pub name: String,
    /// Channel that the client is on.
    pub channel: String,
    /// Shard that owns the client's connection.
    pub shard: u16,
    /// Process id of the client, as the kernel tells it.
    pub pid: u32,
    /// User id of the client; 4294967295 where users have no numbers (Windows).
    pub uid: u32,
    /// Group id of the client; 4294967295 where groups have no numbers.
    pub gid: u32,
    /// Security identifier of the user (`S-1-5-…`), where users have no numbers.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub user: Option<String>,
    /// Patterns that the client listens to.
    pub listeners: u64,
    /// Events that the client emitted.
    pub events_in: u64,
    /// Events queued to the client.
    pub events_out: u64,
    /// Bytes waiting in the client's queue.
    pub queued_bytes: u64,
    /// High-water mark of the client's queue, in bytes.
    pub max_queue: u64,
    /// The connection was opened as `latest`.
    pub latest: bool,
    /// Events that the client lost as `latest`.
    pub dropped: u64,
    /// Clients whose full queues pause this one as an emitter.
    pub paused_by: Vec<u32>,
    /// The link pauses the client: a broker of a pressured channel is behind, or there
    /// is no room left for what is to go to other machines.
    pub paused_by_link: bool,
    /// Shared memory of the connection, if it uses some.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub shared: Option<SharedUse>,
    /// State of the connection: `open`, `full`, `slow` (its queue lags behind its
    /// socket), `paused`, `closing` or `hello`.
    pub state: String,
}

/// One shard's back end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ShardSummary {
    /// Number of the shard.
    pub shard: u16,
    /// Clients that the shard owns.
    pub clients: u64,
    /// Counters of the back end.
    pub io: IoCounters,
}

/// A back end's counters since the start.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct IoCounters {
    /// System calls.
    pub syscalls: u64,
    /// Receives that brought bytes.
    pub receives: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Sends.
    pub sends: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Sends that the socket took only in part.
    pub blocked_sends: u64,
    /// Times that receiving stopped for want of a buffer.
    pub starvations: u64,
    /// Buffers in the pool.
    pub buffers: u64,
    /// Buffers pinned by events.
    pub pinned_buffers: u64,
    /// Bytes of one buffer.
    pub buffer_bytes: u64,
}

/// The sockets of the link: what they are, and their counters since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LinkIo {
    /// Interface of the link.
    pub interface: String,
    /// Address at which unicast reaches this broker.
    pub unicast: String,
    /// Whether the kernel cuts trains that are sent.
    pub gso: bool,
    /// Whether the kernel joins datagrams that arrive to trains.
    pub gro: bool,
    /// Receive buffer of each socket as the system granted it.
    pub receive_buffer_bytes: u64,
    /// Datagrams received.
    pub received: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Receives: each brings one datagram or a train of them.
    pub receives: u64,
    /// Datagrams sent.
    pub sent: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Sends: each takes one datagram or a train of them.
    pub sends: u64,
    /// Datagrams that the kernel dropped because a receive buffer was full.
    pub kernel_drops: u64,
    /// Datagrams that arrived on another interface.
    pub strays: u64,
    /// Datagrams that a socket refused to send.
    pub send_errors: u64,
}

impl LinkIo {
    /// Returns the description of the same sockets with these counters, in the place
    /// where they are now.
    pub(crate) fn with(&self, stats: DatagramStats, place: Option<DatagramPlace<'_>>) -> LinkIo {
        LinkIo {
            interface: place.map_or_else(|| self.interface.clone(), |it| it.interface.into()),
            unicast: place.map_or_else(|| self.unicast.clone(), |it| it.unicast.to_string()),
            received: stats.received,
            received_bytes: stats.received_bytes,
            receives: stats.receives,
            sent: stats.sent,
            sent_bytes: stats.sent_bytes,
            sends: stats.sends,
            kernel_drops: stats.kernel_drops,
            strays: stats.strays,
            send_errors: stats.send_errors,
            ..self.clone()
        }
    }
}

/// A client that the broker disconnected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClosedClient {
    /// Number of the client.
    pub client: u32,
    /// Reason in words.
    pub reason: String,
}

/// Report of one shard.
#[doc(hidden)]
#[derive(Clone, Debug, Default)]
pub struct ShardStatus {
    /// Shard's part of the totals.
    pub totals: Totals,
    /// Link and its sockets, if the shard drives them.
    pub link: Option<(LinkStatus, LinkIo)>,
    /// Clients of the shard, as far as they are listed.
    pub clients: Vec<ClientStatus>,
    /// Clients that are not listed, and might be.
    pub clients_omitted: u64,
    /// Channels of the shard's clients, as far as they are listed.
    pub channels: Vec<ChannelStatus>,
    /// Channels that are not listed.
    pub channels_omitted: u64,
    /// Back end of the shard.
    pub summary: ShardSummary,
    /// Number of clients that each run of events went to.
    pub fan_out: Histogram,
    /// Seconds for which queues were not empty.
    pub queueing_delay: Histogram,
    /// Clients that the shard disconnected lately.
    pub closed_by_broker: Vec<ClosedClient>,
}

impl Totals {
    /// Adds another shard's part.
    #[doc(hidden)]
    pub fn add(&mut self, other: &Totals) {
        // Named one by one, so that a new counter that is forgotten here does
        // not compile.
        let Totals {
            clients,
            shared_clients,
            listeners,
            events_in,
            events_out,
            link_events_in,
            link_send_errors,
            events_unheard,
            bytes_in,
            bytes_out,
            events_in_per_s,
            events_out_per_s,
            queued_bytes,
            full,
            slow,
            dropped,
            pauses,
            stalled,
            kicked,
            protocol_errors,
            accepted,
            refused,
            silent,
            accept_pauses,
            truncated,
            copied_head_bytes,
            copied_out_bytes,
            route_misses,
        } = *other;
        self.clients += clients;
        self.shared_clients += shared_clients;
        self.listeners += listeners;
        self.events_in += events_in;
        self.events_out += events_out;
        self.link_events_in += link_events_in;
        self.link_send_errors += link_send_errors;
        self.events_unheard += events_unheard;
        self.bytes_in += bytes_in;
        self.bytes_out += bytes_out;
        self.events_in_per_s += events_in_per_s;
        self.events_out_per_s += events_out_per_s;
        self.queued_bytes += queued_bytes;
        self.full += full;
        self.slow += slow;
        self.dropped += dropped;
        self.pauses += pauses;
        self.stalled += stalled;
        self.kicked += kicked;
        self.protocol_errors += protocol_errors;
        self.accepted += accepted;
        self.refused += refused;
        self.silent += silent;
        self.accept_pauses += accept_pauses;
        self.truncated += truncated;
        self.copied_head_bytes += copied_head_bytes;
        self.copied_out_bytes += copied_out_bytes;
        self.route_misses += route_misses;
    }
}

impl SharedUse {
    /// Takes over what a back end tells of a connection.
    pub(crate) fn of(used: MemoryUse) -> SharedUse {
        SharedUse {
            ring_bytes: used.ring_bytes,
            ring_held_bytes: used.ring_held_bytes,
            in_flight_bytes: used.in_flight_bytes,
        }
    }
}

impl IoCounters {
    /// Takes the counters over from a back end.
    pub(crate) fn of(stats: IoStats) -> IoCounters {
        IoCounters {
            syscalls: stats.syscalls,
            receives: stats.receives,
            received_bytes: stats.received_bytes,
            sends: stats.sends,
            sent_bytes: stats.sent_bytes,
            blocked_sends: stats.blocked_sends,
            starvations: stats.starvations,
            buffers: stats.buffers,
            pinned_buffers: stats.pinned_buffers,
            buffer_bytes: stats.buffer_bytes,
        }
    }
}

#[cfg(test)]
mod tests;
