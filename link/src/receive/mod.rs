//! The receiving side: datagrams of peers, and the streams made of them.
//!
//! ```text
//!   handle_datagrams ──▶ datagrams ──▶ inbound_stream ──▶ poll_event
//!                            │         ingress: accept ─▶ reorder, loss_detector
//!                            ▼                  ─▶ assembler, frame_scanner
//!                         control      receive_window, fair_share: what peers may send
//! ```

pub(crate) mod datagrams;
pub mod fair_share;
pub(crate) mod inbound_stream;
pub(crate) mod inbound_streams;
pub mod ingress;
pub mod receive_window;
