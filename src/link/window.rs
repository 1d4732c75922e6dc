//! How much each sender may have under way to us.
