//! Whole links in virtual time.
