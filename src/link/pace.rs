//! How fast to send: a token bucket that gives way to loss.
