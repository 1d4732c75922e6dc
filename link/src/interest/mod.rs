//! Who listens to what: the own channels, and from where on streams are joined.

pub(crate) mod joining;
pub(crate) mod local_channels;
