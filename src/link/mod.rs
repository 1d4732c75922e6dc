//! The link: brokers on many machines as one bus.
//!
//! A state machine without input or output: datagrams, frames and the time come
//! in, datagrams, frames and deadlines go out.

pub mod channel;
pub mod egress;
pub mod flow;
pub mod ingress;
pub mod keys;
pub mod options;
pub mod pace;
pub mod peer_id;
pub mod repair;
pub mod stream;
pub mod window;
