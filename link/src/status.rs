//! Status of the link: counters, and one entry per peer.

use serde::{Deserialize, Serialize};

/// Datagrams and events since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkCounters {
    /// Datagrams received that were used.
    pub received: u64,
    /// Bytes of them.
    pub received_bytes: u64,
    /// Data datagrams sent for the first time; one that went to a group and to
    /// two peers counts three times.
    pub sent: u64,
    /// Bytes of them.
    pub sent_bytes: u64,
    /// Data datagrams sent again.
    pub repaired: u64,
    /// Control datagrams sent, once per address.
    pub control_sent: u64,
    /// Datagrams of any kind that a socket refused for good: too large, no route.
    /// They are not among those sent.
    pub refused: u64,
    /// Control datagrams dropped since too many waited.
    pub control_dropped: u64,
    /// Event frames that no other broker wanted.
    pub events_unwanted: u64,
    /// Event frames received for channels that nobody here listens to.
    pub events_unheard: u64,
    /// Large event frames from peers that did not go on, and were given up.
    pub stalled_frames: u64,
    /// Data datagrams of peers that were asked for in vain while others came, and
    /// given up.
    #[serde(default)]
    pub given_up: u64,
    /// Retransmission requests sent.
    pub naks_sent: u64,
    /// Retransmission requests received.
    pub naks_received: u64,
    /// Receivers that were no longer waited for, times it happened.
    pub demoted: u64,
    /// Sessions that became peers.
    pub established: u64,
    /// Peers that said goodbye.
    pub left: u64,
    /// Peers that fell silent.
    pub silent: u64,
    /// Peers that came back with a new session.
    pub restarted: u64,
    /// Peers that were met anew, since their streams were further here than they said.
    #[serde(default)]
    pub contradicted: u64,
    /// Sessions of this broker that were begun since the machine was restored or
    /// cloned.
    pub renewed: u64,
    /// Peers that answered from another address than before.
    pub moved: u64,
    /// Handshakes pushed out by newer ones.
    pub handshakes_evicted: u64,
    /// Handshakes that were not answered.
    pub handshakes_expired: u64,
    /// Warnings not repeated.
    pub warnings_suppressed: u64,
    /// Datagrams that were dropped, by reason.
    pub drops: DropCounters,
}

/// Datagrams that were received and not used, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropCounters {
    /// Datagrams of this broker, looped back. Nothing is wrong with these.
    pub own: u64,
    /// Datagrams of data that came already. Normal after a retransmission.
    pub duplicate: u64,
    /// Datagrams that are not of a link at all.
    pub magic: u64,
    /// Datagrams of another version.
    pub version: u64,
    /// Datagrams of a kind that this version does not know.
    pub kind: u64,
    /// Datagrams that are shorter than their header says.
    pub short: u64,
    /// Datagrams sealed with another key, or sealed and this link is open, or the reverse.
    pub wrong_key: u64,
    /// Datagrams that are not sealed by whom they name.
    pub forged: u64,
    /// Datagrams of control that came already.
    pub replayed: u64,
    /// Datagrams of a session that is no peer.
    pub unknown_session: u64,
    /// Hellos over the rate at which strangers are looked at.
    pub hello_rate: u64,
    /// Hellos of other clusters.
    pub other_cluster: u64,
    /// Hellos of the same cluster, set up otherwise.
    pub other_settings: u64,
    /// Hellos with the node id of another broker.
    pub same_node: u64,
    /// Newcomers when the table of peers was full.
    pub too_many_peers: u64,
    /// Datagrams whose bodies make no sense.
    pub malformed: u64,
    /// Answers from where no challenge was sent to.
    pub unproved: u64,
    /// Datagrams for another session of ours.
    pub other_receiver: u64,
    /// Data of streams that we did not join.
    pub unjoined: u64,
    /// Data too far ahead to be kept.
    pub too_far: u64,
}

/// Counters of one peer: what it cost and brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerCounters {
    /// Datagrams received from it, control too.
    pub received: u64,
    /// Bytes of them.
    pub received_bytes: u64,
    /// Data datagrams sent to it alone.
    pub sent_unicast: u64,
    /// Data datagrams sent to it again, by unicast.
    pub repaired: u64,
    /// Retransmission requests that it sent.
    pub naks_received: u64,
    /// Retransmission requests that it was sent.
    pub naks_sent: u64,
    /// Data datagrams of it that were asked for in vain, and given up.
    #[serde(default)]
    pub given_up: u64,
    /// Event frames from it that were lost.
    pub events_lost: u64,
    /// Times when nobody can tell how many were.
    pub losses_unknown: u64,
}

/// Status of a link.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LinkStatus {
    /// Name of this broker.
    #[serde(default)]
    pub name: String,
    /// Name of the cluster.
    pub cluster: String,
    /// The own session, in hexadecimal.
    pub session: String,
    /// The control group.
    pub group: String,
    /// Groups that channels are spread over.
    pub groups: u8,
    /// Largest datagram sent.
    pub datagram_bytes: usize,
    /// Whether datagrams are sealed.
    pub is_sealed: bool,
    /// Whether data is looped back for brokers on this machine.
    pub is_looped: bool,
    /// Events are still held back for peers to be found.
    pub is_discovering: bool,
    /// Sessions that are being challenged.
    pub handshakes: usize,
    /// Bytes a second that may be sent; none if nothing limits it.
    pub rate: Option<u64>,
    /// Counters since the start.
    pub counters: LinkCounters,
    /// Outbound streams that have carried something.
    #[serde(default)]
    pub streams: Vec<OutboundStreamStatus>,
    /// The channels known here, by the streams that carry them: those of this
    /// broker and of its peers alike.
    #[serde(default)]
    pub channels: Vec<StreamChannels>,
    /// Number of peers.
    #[serde(default)]
    pub peers_total: usize,
    /// One entry per peer.
    #[serde(default)]
    pub peers: Vec<PeerStatus>,
    /// Brokers that do not hear each other; not more than are worth naming.
    pub missing_pairs: Vec<MissingPair>,
    /// Number of such pairs.
    pub missing_pairs_total: usize,
    /// Configured addresses that no peer answers from.
    pub unanswered_peers: Vec<String>,
    /// Brokers that are heard and do not answer.
    #[serde(default)]
    pub unlinked: Vec<UnlinkedStatus>,
    /// Names of the brokers that are expected to be peers.
    #[serde(default)]
    pub expected_peers: Vec<String>,
    /// Names of those of them that are not.
    #[serde(default)]
    pub missing_peers: Vec<String>,
}

/// A broker that is heard and does not answer, so that it is no peer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnlinkedStatus {
    /// Node id of the broker, in hexadecimal.
    pub node: String,
    /// Name of the broker, as it says.
    pub name: String,
    /// Address that the broker sends from.
    pub address: String,
}

/// The channels in one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamChannels {
    /// Group that it is sent to.
    pub group: u8,
    /// Index of the stream in the group; 0 for the ordinary one.
    pub index: u8,
    /// First channels in it, by name.
    pub names: Vec<String>,
    /// Number of channels in the stream.
    pub total: usize,
}

/// Two brokers, both peers or one of them this one, of which one does not hear
/// the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingPair {
    /// Node ids of both, in hexadecimal.
    pub nodes: [String; 2],
    /// Names of both; the node id of one that has none.
    pub names: [String; 2],
}

/// One stream of this broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboundStreamStatus {
    /// Group that it is sent to.
    pub group: u8,
    /// Index of the stream in the group; 0 for the ordinary one.
    pub index: u8,
    /// Number of the next datagram.
    pub next: u64,
    /// Oldest number that can be retransmitted.
    pub tail: u64,
    /// Number below which may be sent; none if nothing limits it.
    pub limit: Option<u64>,
    /// Bytes that wait.
    pub queued_bytes: usize,
    /// Number of receivers.
    pub receivers: usize,
    /// Retransmission requests for the stream.
    pub naks_received: u64,
    /// Datagrams of the stream that were sent again.
    pub repaired: u64,
}

/// One peer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Node id of the peer, in hexadecimal.
    pub node: String,
    /// Name of the peer.
    pub name: String,
    /// Address that the peer sends from.
    pub address: String,
    /// Session of the peer, in hexadecimal.
    pub session: String,
    /// Path by which data reaches it: `multicast` or `unicast`.
    pub path: String,
    /// Whether its multicast reaches us.
    pub is_multicast_heard: bool,
    /// Addresses of groups whose multicast of it does not reach us although other
    /// multicast does.
    #[serde(default)]
    pub deaf_groups: Vec<String>,
    /// Largest datagram that it sends.
    pub datagram_bytes: usize,
    /// Largest datagram that is sent to it.
    #[serde(default)]
    pub path_bytes: usize,
    /// Whether that is less than elsewhere since larger ones do not reach it.
    #[serde(default)]
    pub is_path_narrow: bool,
    /// Whether it is since it answers no probe.
    #[serde(default)]
    pub is_path_unanswered: bool,
    /// Milliseconds since it became a peer.
    pub since_ms: u64,
    /// Milliseconds since it was heard.
    pub heard_ms: u64,
    /// Microseconds to the peer and back; none if not measured.
    pub round_trip_us: Option<u64>,
    /// Groups that it wants, a bit each.
    pub groups_wanted: u64,
    /// Whether it knows of our newest interest.
    pub is_joined: bool,
    /// Streams of ours in which it is not waited for.
    pub demoted: usize,
    /// Counters.
    pub counters: PeerCounters,
    /// Streams of the peer that we receive.
    pub streams: Vec<InboundStreamStatus>,
    /// State of the peer as it told it last; none if it has not.
    #[serde(default)]
    pub summary: Option<PeerSummary>,
}

/// State of a peer, in short, as it told it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerSummary {
    /// Milliseconds since it was told.
    pub age_ms: u64,
    /// Release of the broker.
    pub version: String,
    /// Milliseconds since the broker started.
    pub uptime_ms: u64,
    /// Clients that are connected to it.
    pub clients: u32,
    /// Events per second that its clients emit.
    pub events_in_per_s: u64,
    /// Events per second that are queued to its clients.
    pub events_out_per_s: u64,
    /// Events that its `latest` clients lost, and those of its present peers that did not arrive.
    pub lost: u64,
    /// Bytes waiting in the queues of its clients.
    pub queued_bytes: u64,
    /// Whether it is about to end.
    pub is_draining: bool,
}

/// One stream of a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboundStreamStatus {
    /// Group that it is sent to.
    pub group: u8,
    /// Index of the stream in the group; 0 for the ordinary one.
    pub index: u8,
    /// The next number not yet received in order.
    pub position: u64,
    /// Numbers missing now.
    pub missing: u32,
    /// Numbers ever missing.
    pub seen_lost: u64,
    /// Retransmission requests for the stream, since it was joined.
    pub naks_sent: u64,
    /// Numbers that were asked for and came.
    pub repaired: u64,
    /// Event frames that were lost.
    pub events_lost: u64,
    /// Times when nobody can tell how many were.
    pub losses_unknown: u64,
}
