//! Peers of a broker, told to others, so that they can tell who does not hear whom.
//!
//! ```text
//!  neighbours  0 count u16 | 2 part u16 | 4 parts u16 | 6 zero u16 | 8 nodes u32 …
//! ```
//! One list is one datagram, unless it is longer than the smallest datagram: then
//! it is several parts, each of them whole by itself.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::control::BodyError;
use super::entries::{self, Entries, Entry};
use super::limits::{MAX_BODY_BYTES, MAX_NEIGHBOUR_PARTS, MAX_NEIGHBOURS};

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct NeighboursBytes {
    count: U16,
    part: U16,
    parts: U16,
    zero: U16,
}

#[doc(hidden)]
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct NeighbourBytes {
    node: U32,
}

const _: () = assert!(size_of::<NeighboursBytes>() == 8);
const _: () = assert!(
    size_of::<NeighboursBytes>() + MAX_NEIGHBOURS * size_of::<NeighbourBytes>() == MAX_BODY_BYTES
);

/// Peer of the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Node id of the peer; never 0.
    pub node: u32,
}

impl Entry for Neighbour {
    type Bytes = NeighbourBytes;
    const MOST: usize = MAX_NEIGHBOURS;

    fn read(bytes: &NeighbourBytes) -> Neighbour {
        Neighbour { node: bytes.node.get() }
    }

    fn bytes(&self) -> NeighbourBytes {
        NeighbourBytes { node: U32::new(self.node) }
    }

    fn check(&self) -> Result<(), BodyError> {
        match self.node {
            0 => Err(BodyError::Node),
            _ => Ok(()),
        }
    }
}

/// The peers of the sender, or a part of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbours<'a> {
    /// Number of this part of the list, from 0 on.
    pub part: u16,
    /// Number of parts; at least one.
    pub parts: u16,
    /// The peers in this part.
    pub peers: Entries<'a, Neighbour>,
}

impl<'a> Neighbours<'a> {
    /// Reads an opened body.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn decode(body: &'a [u8]) -> Result<Neighbours<'a>, BodyError> {
        let (head, rest) = NeighboursBytes::ref_from_prefix(body).map_err(|_| BodyError::Length)?;
        let (part, parts) = (head.part.get(), head.parts.get());
        if part >= parts || usize::from(parts) > MAX_NEIGHBOUR_PARTS {
            return Err(BodyError::Part(part, parts));
        }
        let peers = Entries::decode(usize::from(head.count.get()), rest)?;
        Ok(Neighbours { part, parts, peers })
    }

    /// Appends the body.
    ///
    /// # Panics
    /// If there are more than [`MAX_NEIGHBOURS`] peers, or there is no such part.
    pub fn encode(part: u16, parts: u16, peers: &[Neighbour], out: &mut Vec<u8>) {
        assert!(part < parts);
        assert!(usize::from(parts) <= MAX_NEIGHBOUR_PARTS);
        let head = NeighboursBytes {
            count: U16::new(peers.len() as u16),
            part: U16::new(part),
            parts: U16::new(parts),
            zero: U16::new(0),
        };
        out.extend_from_slice(head.as_bytes());
        entries::encode(peers, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(nodes: &[u32]) -> Vec<u8> {
        let peers: Vec<Neighbour> = nodes.iter().map(|&node| Neighbour { node }).collect();
        let mut body = Vec::new();
        Neighbours::encode(0, 1, &peers, &mut body);
        body
    }

    #[test]
    fn a_part_is_one_of_as_many_as_there_may_be() {
        let mut body = encoded(&[7]);
        let mut decoded = |part: u8, parts: u8| {
            (body[2], body[4]) = (part, parts);
            Neighbours::decode(&body).map(|list| (list.part, list.parts))
        };
        assert_eq!(decoded(0, 1), Ok((0, 1)));
        assert_eq!(decoded(3, 4), Ok((3, 4)));
        for (part, parts) in [(0, 0), (1, 1), (4, 4), (0, 5)] {
            assert_eq!(decoded(part, parts), Err(BodyError::Part(part.into(), parts.into())));
        }
    }

    #[test]
    fn a_list_has_room_for_as_many_as_it_says_and_none_of_them_is_nobody() {
        assert!(Neighbours::decode(&encoded(&[])).unwrap().peers.is_empty());
        let most: Vec<u32> = (1..=MAX_NEIGHBOURS as u32).collect();
        let mut body = encoded(&most);
        assert_eq!(body.len(), MAX_BODY_BYTES);
        assert!(Neighbours::decode(&body).unwrap().peers.iter().map(|peer| peer.node).eq(most));
        body[8..12].fill(0);
        assert_eq!(Neighbours::decode(&body), Err(BodyError::Node));
        body.extend_from_slice(&[1, 0, 0, 0]);
        assert_eq!(Neighbours::decode(&body), Err(BodyError::Length));
        body[0..2].copy_from_slice(&(MAX_NEIGHBOURS as u16 + 1).to_le_bytes());
        assert_eq!(Neighbours::decode(&body), Err(BodyError::Count(MAX_NEIGHBOURS + 1)));
    }
}
