//! Control datagrams: sealed and queued on the way out, opened and acted on on the
//! way in.

pub(crate) mod control_sender;
pub(crate) mod dispatch;
pub(crate) mod probe;
