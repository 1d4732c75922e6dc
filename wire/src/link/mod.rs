//! The datagrams that brokers exchange over the link.

pub mod data;
pub mod limits;

pub use data::DataHeader;
