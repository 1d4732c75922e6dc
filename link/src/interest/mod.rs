//! Who listens to what: the own channels, and from where on streams are joined.

pub(crate) mod joining;
pub(crate) mod local_channels;
pub(crate) mod told;
pub(crate) mod wants;

use self::joining::OwnInterest;
use self::local_channels::LocalChannels;

/// What listeners of this broker want.
pub(crate) struct LocalInterest {
    pub channels: LocalChannels,
    pub own: OwnInterest,
}

impl LocalInterest {
    pub fn new() -> LocalInterest {
        LocalInterest { channels: LocalChannels::new(), own: OwnInterest::default() }
    }
}
