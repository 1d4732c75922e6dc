//! The receivers of one own stream: who may be waited for.
