//! One own stream: frames into numbered datagrams, and their history.
