//! One stream of one peer: numbered datagrams back into frames.
