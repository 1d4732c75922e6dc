//! Bytes worked out from the protocol, both ways, and how the bytes come when cut.

use super::*;

const EMPTY: &[u8] = &[];

fn zenoh() -> Zenoh {
    Zenoh::new("c", false)
}

/// Returns a batch of these bytes.
fn batch(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_le_bytes(), bytes].concat()
}

/// Returns an event as a router sends it to a client that declared the key.
fn pushed(payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x9d, 1, 0x21, 0x0d, 0x01];
    push_number(&mut bytes, payload.len() as u32);
    [&bytes, payload].concat()
}

/// Returns the payloads in these bytes, which are whole, and the number of answers.
fn decode_all(zenoh: &mut Zenoh, mut bytes: &[u8]) -> (Vec<Vec<u8>>, usize) {
    let (mut payloads, mut answers) = (Vec::new(), 0);
    loop {
        let used = match zenoh.decode(bytes).unwrap() {
            Decoded::Event(payload, used) => {
                payloads.push(payload.to_vec());
                used
            }
            Decoded::Answer(used) => {
                answers += 1;
                used
            }
            Decoded::Other(used) => used,
            Decoded::Question(_) => panic!("a question"),
            Decoded::Partial => break,
        };
        bytes = &bytes[used..];
    }
    assert_eq!(bytes, EMPTY);
    (payloads, answers)
}

/// Reads what a client has written as a router would: returns the payloads and the number
/// of other messages; frames must be numbered from `number`.
fn read_back(mut bytes: &[u8], number: &mut u32) -> (Vec<Vec<u8>>, usize) {
    let (mut payloads, mut others, mut joined) = (Vec::new(), 0, Vec::new());
    let mut read = |reader: &mut Reader<'_>| match Message::read(reader).unwrap() {
        Message::Event(payload) => payloads.push(payload.to_vec()),
        _ => others += 1,
    };
    while let Some((&length, rest)) = bytes.split_first_chunk() {
        let (whole, rest) = rest.split_at(usize::from(u16::from_le_bytes(length)));
        assert!(2 + whole.len() <= batch::MOST_BYTES);
        bytes = rest;
        let mut reader = Reader::new(whole);
        let header = reader.byte().unwrap();
        assert_eq!(reader.number().unwrap(), u64::from(*number));
        *number += 1;
        if header == FRAME | batch::RELIABLE {
            while reader.peek().is_some() {
                read(&mut reader);
            }
            continue;
        }
        assert_eq!(header & !batch::MORE, FRAGMENT | batch::RELIABLE);
        joined.extend_from_slice(reader.rest());
        if header & batch::MORE == 0 {
            let mut reader = Reader::new(&joined);
            read(&mut reader);
            assert_eq!(reader.len(), 0);
            joined.clear();
        }
    }
    assert_eq!((bytes, joined.len()), (EMPTY, 0));
    (payloads, others)
}

#[test]
fn a_session_is_opened_with_the_routers_cookie() {
    let (mut zenoh, mut out) = (zenoh(), Vec::new());
    assert_eq!(zenoh.hello(&mut out), 1);
    assert_eq!(out, batch(&[0x01, 9, 0x02, b'c']));
    out.clear();
    // With an extension behind the cookie: the patch level.
    let ack = batch(&[0xa1, 9, 0x10, 7, 8, 3, b'a', b'b', b'c', 0x27, 1]);
    for cut in 0..ack.len() {
        assert_eq!(zenoh.decode(&ack[..cut]).unwrap(), Decoded::Partial);
    }
    assert_eq!(zenoh.decode(&ack).unwrap(), Decoded::Question(ack.len()));
    zenoh.reply(&mut out);
    assert_eq!(out, batch(&[0x42, 0x80, 0xa3, 0x05, 0, 3, b'a', b'b', b'c']));
    let ack = batch(&[0x62, 10, 0x81, 0x02]);
    assert_eq!(zenoh.decode(&ack).unwrap(), Decoded::Answer(ack.len()));
}

#[test]
fn a_client_is_told_apart_by_the_end_of_its_name() {
    let mut out = Vec::new();
    Zenoh::new("a-long-name-of-listener-12", false).hello(&mut out);
    assert_eq!(out, batch(b"\x01\x09\xf2e-of-listener-12"));
    Zenoh::new("", false).hello(&mut Vec::new());
}

#[test]
fn a_key_is_declared_once_and_its_events_share_a_frame() {
    let (mut zenoh, mut out) = (zenoh(), Vec::new());
    zenoh.publish("e0", b"hi", &mut out);
    zenoh.publish("e0", b"", &mut out);
    let declared = [0x1e, 0x20, 1, 0, 2, b'e', b'0'];
    let events = [0xdd, 1, 0x21, 0x0d, 1, 2, b'h', b'i', 0xdd, 1, 0x21, 0x0d, 1, 0];
    assert_eq!(out, batch(&[&[0x25, 0][..], &declared, &events].concat()));
    // Sent meanwhile: the next frame has the next number.
    out.clear();
    zenoh.publish("e0", b"!", &mut out);
    assert_eq!(out, batch(&[0x25, 1, 0xdd, 1, 0x21, 0x0d, 1, 1, b'!']));
}

#[test]
fn a_subscription_is_followed_by_a_question() {
    let (mut zenoh, mut out) = (zenoh(), Vec::new());
    assert_eq!(zenoh.subscribe("e0", &mut out), 1);
    let declared = [0x1e, 0x20, 1, 0, 2, b'e', b'0', 0x1e, 0x42, 1, 1];
    assert_eq!(out, batch(&[&[0x25, 0][..], &declared, &[0x39, 1, 0x08]].concat()));
    out.clear();
    assert_eq!(zenoh.fence(&mut out), 1);
    assert_eq!(out, batch(&[0x25, 1, 0x39, 2, 0x08]));
    let answer = batch(&[0x25, 0x80, 0x01, 0x3e, 2, 0x1a]);
    assert_eq!(zenoh.decode(&answer).unwrap(), Decoded::Answer(answer.len()));
}

#[test]
fn what_routers_add_to_events_is_skipped() {
    let mut bytes = vec![0xa5, 5, 0x31, 5];
    for event in [
        // The key by its name, with no extension; a time and an encoding before it.
        &[0x3d, 0, 2, b'e', b'0', 0x61, 0x85, 0x01, 2, 7, 7, 0x04, 1, b'x'][..],
        // An encoding with a schema, and an attachment.
        &[0x1d, 3, 0xc1, 0x05, 1, b's', 0x43, 2, 9, 9, 1, b'x'],
        // The same without; then a key, a time, and a deletion.
        &[0x5d, 3, 0x41, 0x04, 1, b'x', 0x1d, 3, 0x22, 9, 1, 7],
    ] {
        bytes.extend_from_slice(event);
    }
    // A subscriber, one less, an interest, and something about the network.
    bytes.extend_from_slice(&[0x9e, 0x21, 8, 0x22, 1, 0, 1, b'k', 0x1e, 0x03, 1]);
    bytes.extend_from_slice(&[0x79, 1, 0x32, 0, 1, b'k', 0x19, 1, 0x5f, 1, 2, 0, 0]);
    // Another frame in the same batch, and something of the transport.
    bytes.extend_from_slice(&[0x25, 6, 0x1d, 1, 0x01, 1, b'y', 0x04]);
    let (payloads, answers) = decode_all(&mut zenoh(), &batch(&bytes));
    assert_eq!((payloads.concat(), answers), (b"xxxy".to_vec(), 0));
}

#[test]
fn events_are_read_only_when_their_batch_is_whole() {
    let events = [pushed(b"first"), pushed(&[3; 300]), pushed(b"")].concat();
    let bytes = batch(&[&[0x25, 0][..], &events].concat());
    for cut in 0..bytes.len() {
        let mut zenoh = zenoh();
        assert_eq!(zenoh.decode(&bytes[..cut]).unwrap(), Decoded::Partial, "{cut}");
        let (payloads, _) = decode_all(&mut zenoh, &bytes);
        assert_eq!(payloads, [b"first".to_vec(), vec![3; 300], Vec::new()]);
    }
    assert_eq!(decode_all(&mut zenoh(), &batch(&[])), (Vec::new(), 0));
}

#[test]
fn an_event_in_fragments_is_joined() {
    let payload: Vec<u8> = (0..150_000).map(|index| (index % 251) as u8).collect();
    let message = pushed(&payload);
    let mut bytes = Vec::new();
    for (number, piece) in message.chunks(60_000).enumerate() {
        let header = if number < 2 { 0x66 } else { 0x26 };
        bytes.extend(batch(&[&[header, number as u8], piece].concat()));
    }
    let twice = [bytes.clone(), batch(&[0x25, 3]), bytes].concat();
    let (payloads, _) = decode_all(&mut zenoh(), &twice);
    assert!(payloads == [payload.clone(), payload]);
}

#[test]
fn nonsense_is_an_error() {
    for bytes in [
        // A push that ends early, at each place; and one of something else.
        &[0x25, 0, 0x9d][..],
        &[0x25, 0, 0x9d, 1],
        &[0x25, 0, 0x9d, 1, 0x21],
        &[0x25, 0, 0x9d, 1, 0x21, 0x0d],
        &[0x25, 0, 0x9d, 1, 0x21, 0x0d, 1],
        &[0x25, 0, 0x9d, 1, 0x21, 0x0d, 1, 2, 0],
        &[0x25, 0, 0x9d, 1, 0x21, 0x0d, 7, 0],
        // An extension of no kind; a payload longer than memory.
        &[0x25, 0, 0x9d, 1, 0x61, 0x0d, 1, 0],
        &[0x25, 0, 0x1d, 1, 1, 255, 255, 255, 255, 255, 255, 255, 255, 255],
        // A request, and a declaration that is not known.
        &[0x25, 0, 0x1c, 1, 0],
        &[0x25, 0, 0x1e, 0x08, 1],
        &[0x25],
        // Half a message as the last fragment of one.
        &[0x26, 0, 0x9d, 1],
        // The end of the session, in which a client asks and routers answer.
        &[0x03, 1],
        &[0x01, 9, 0x02, 1],
        &[0x02, 1, 1, 0],
        // Another version, other resolutions, batches that are too short.
        &[0x21, 8, 0x02, 1, 0],
        &[0x61, 9, 0x02, 1, 0x05, 0xff, 0xff, 0],
        &[0x61, 9, 0x02, 1, 0x0a, 0x10, 0x00, 0],
        &[0x07],
    ] {
        assert!(zenoh().decode(&batch(bytes)).is_err(), "{bytes:x?}");
    }
}

#[test]
fn a_router_with_little_room_gets_short_batches() {
    let (mut zenoh, mut out) = (zenoh(), Vec::new());
    let ack = batch(&[0x61, 9, 0x02, 1, 0x0a, 0x00, 0x08, 0]);
    assert_eq!(zenoh.decode(&ack).unwrap(), Decoded::Question(ack.len()));
    let payloads = [vec![1; 1000], vec![2; 1500], vec![3; 9000], vec![4; 30]];
    for payload in &payloads {
        zenoh.publish("e0", payload, &mut out);
    }
    let mut rest = &out[..];
    while let Some((&length, behind)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes(length));
        assert!(2 + length <= 2048, "{length}");
        rest = &behind[length..];
    }
    assert!(read_back(&out, &mut 0).0 == payloads);
}

#[test]
fn events_of_every_size_around_a_batch_read_back() {
    let most = batch::MOST_BYTES;
    let sizes = (most - 20..most + 5).chain(2 * most - 30..2 * most).chain([0, 1, 1 << 20]);
    for size in sizes {
        let (mut zenoh, mut out, mut number) = (zenoh(), Vec::new(), 0);
        let payload = vec![size as u8; size];
        zenoh.publish("e0", &payload, &mut out);
        zenoh.publish("e0", b"behind", &mut out);
        let (payloads, others) = read_back(&out, &mut number);
        assert!(payloads == [payload, b"behind".to_vec()], "{size}");
        assert_eq!(others, 1);
    }
}

/// Events of any kind, flushed at any time and cut anywhere, go through.
#[test]
fn what_is_written_is_what_is_read() {
    for seed in 1..=40_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut below = |bound: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % bound
        };
        let (mut client, mut out, mut number) = (zenoh(), Vec::new(), 0);
        let mut router = zenoh();
        let (mut sent, mut fences, mut read, mut others) = (Vec::new(), 0, Vec::new(), 0);
        let (mut decoded, mut unread) = (Vec::new(), Vec::new());
        for _ in 0..60 {
            let size = [below(40), below(3000), below(200_000)][below(3) as usize];
            let payload = vec![below(256) as u8; size as usize];
            client.publish(["e0", "e1", "e2"][below(3) as usize], &payload, &mut out);
            sent.push(payload);
            if below(8) == 0 {
                fences += client.fence(&mut out);
            }
            if below(4) == 0 {
                let (payloads, rest) = read_back(&out, &mut number);
                read.extend(payloads);
                others += rest;
                // The same bytes as they would come from a router, in pieces.
                for piece in out.chunks(1 + below(100_000) as usize) {
                    unread.extend_from_slice(piece);
                    let mut at = 0;
                    loop {
                        at += match router.decode(&unread[at..]).unwrap() {
                            Decoded::Event(payload, used) => {
                                decoded.push(payload.to_vec());
                                used
                            }
                            Decoded::Other(used) => used,
                            Decoded::Partial => break,
                            other => panic!("{other:?}"),
                        };
                    }
                    unread.drain(..at);
                }
                out.clear();
            }
        }
        let behind = read_back(&out, &mut number);
        read.extend(behind.0);
        assert!(read == sent, "seed {seed}");
        assert!(decoded == sent[..decoded.len()] && others + behind.1 >= fences, "seed {seed}");
    }
}

/// Bytes of any kind in any order give an error or none, but no panic, and never are more
/// bytes used than there are.
#[test]
fn no_bytes_make_it_panic() {
    let good = [
        batch(&[&[0x25, 0][..], &pushed(b"hello"), &[0x3e, 2, 0x1a]].concat()),
        batch(&[0x66, 1, 0x9d, 1]),
        batch(&[0x26, 2, 0x21, 0x0d, 1, 1, 0]),
        batch(&[0xa1, 9, 0x10, 7, 8, 3, b'a', b'b', b'c', 0x27, 1]),
    ]
    .concat();
    let mut state = 7_u64;
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..3 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = (state >> 33) as usize % bytes.len();
            bytes[at] = (state >> 24) as u8;
        }
        let (mut zenoh, mut rest) = (zenoh(), &bytes[..]);
        while let Ok(decoded) = zenoh.decode(rest) {
            let used = match decoded {
                Decoded::Partial => break,
                Decoded::Event(_, used) => used,
                Decoded::Question(used) | Decoded::Answer(used) | Decoded::Other(used) => used,
            };
            assert!(used > 0);
            rest = &rest[used..];
        }
    }
}
