//! The receiving side: datagrams of peers, and the streams made of them.
//!
//! ```text
//!   handle_datagrams ──▶ datagrams ──▶ inbound_stream ──▶ poll_event
//!                            │         ingress: accept ─▶ reorder, loss_detector
//!                            ▼                  ─▶ assembler, frame_scanner
//!                         control      receive_window, fair_share: what peers may send
//!                                      nak: what is asked for again
//! ```

pub(crate) mod datagrams;
pub mod fair_share;
pub(crate) mod inbound_stream;
pub(crate) mod inbound_streams;
pub mod ingress;
pub(crate) mod nak;
pub mod receive_window;
