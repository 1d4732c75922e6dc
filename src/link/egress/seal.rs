//! What an own stream needs of a key: the seam towards the key schedule.

/// Seals the datagrams of one stream, each once.
pub trait Seal {
    /// What the headers name the key by; 0 if the link is open.
    fn key_id(&self) -> u32;

    /// Bytes of the tag that ends each datagram; 0 if the link is open.
    fn tag_bytes(&self) -> usize;

    /// Encrypts `body` in place and fills `tag`; does nothing on an open link.
    /// Called once for a number: a repair resends the same bytes.
    fn seal(&mut self, number: u64, header: &[u8], body: &mut [u8], tag: &mut [u8]);
}
