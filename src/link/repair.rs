//! What receivers miss and asked for.
