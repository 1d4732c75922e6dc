//! The parts of a stage: drivers, brokers, and servers that lie.

mod broker;
mod driver;
mod liar;
mod stage;
mod wire;

pub use broker::Broker;
pub use driver::{Driver, Event, Refused};
pub use liar::Liar;
pub use stage::{Programs, Stage};
pub use wire::Wire;
