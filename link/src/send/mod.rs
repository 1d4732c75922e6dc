//! The sending side: outbound streams of numbered datagrams, and when they go out.
//!
//! ```text
//!   emit ──▶ outbound_stream ─────────────────▶ scheduler ──▶ poll_transmit
//!            egress: layout ─▶ history             ▲
//!            flow_control: receivers, limits       │ congestion: how fast
//!            retransmit: what was asked for        │ path_mtu, datagram_size: how large
//!            heartbeat: how far the stream is ─────┘
//! ```

pub mod congestion;
pub(crate) mod datagram_size;
pub mod egress;
pub mod flow_control;
pub(crate) mod heartbeat;
pub(crate) mod outbound_stream;
pub(crate) mod outbound_streams;
pub(crate) mod path_mtu;
pub mod retransmit;
pub(crate) mod scheduler;
