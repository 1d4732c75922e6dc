use ring::aead;

use super::audit::Audit;
use super::control::control_key;
use super::stream::stream_key;
use super::*;
use crate::peer_id::Session;
use crate::stream::StreamId;

const SESSION: Session = [7; 16];
const STREAM: StreamId = StreamId::new(3, 0);
const HEADER: &[u8; 44] = b"a header of 44 bytes, which nobody encrypts.";
const BODY: &[u8] = b"what only the brokers of the cluster may read";

fn key(seed: u8) -> Key {
    Key::new([seed; KEY_BYTES])
}

fn keys(seeds: &[u8]) -> Keys {
    Keys::new(seeds.iter().map(|seed| key(*seed)).collect())
}

/// A sealed datagram.
#[derive(Clone, Debug, PartialEq)]
struct Sealed {
    number: u64,
    key_id: u32,
    header: Vec<u8>,
    body: Vec<u8>,
    tag: Vec<u8>,
}

fn seal(sealer: &mut StreamSealer, number: u64) -> Sealed {
    let mut body = BODY.to_vec();
    let mut tag = vec![0; sealer.tag_bytes()];
    sealer.seal(number, HEADER, &mut body, &mut tag);
    Sealed { number, key_id: sealer.key_id(), header: HEADER.to_vec(), body, tag }
}

fn open(opener: &mut StreamOpener, sealed: &Sealed) -> Result<Vec<u8>, Unsealed> {
    let Sealed { number, key_id, header, body, tag } = sealed;
    let mut body = body.clone();
    opener.open(*key_id, *number, header, &mut body, tag).map(|()| body)
}

fn sealed_once(keys: &Keys, session: &Session, stream: StreamId, number: u64) -> Sealed {
    seal(&mut StreamSealer::new(keys, session, stream), number)
}

fn seal_control(sealer: &mut ControlSealer) -> Sealed {
    let number = sealer.counter();
    let mut body = BODY.to_vec();
    let mut tag = vec![0; sealer.tag_bytes()];
    sealer.seal(HEADER, &mut body, &mut tag);
    Sealed { number, key_id: sealer.key_id(), header: HEADER.to_vec(), body, tag }
}

fn open_control(opener: &mut ControlOpener, sealed: &Sealed) -> Result<Vec<u8>, Unsealed> {
    let Sealed { number, key_id, header, body, tag } = sealed;
    let mut body = body.clone();
    opener.open(*key_id, *number, header, &mut body, tag).map(|()| body)
}

/// All the ways to change one bit, and some to change the length.
fn forgeries(sealed: &Sealed) -> Vec<Sealed> {
    let mut forgeries = Vec::new();
    let mut forge = |change: &dyn Fn(&mut Sealed)| {
        let mut forged = sealed.clone();
        change(&mut forged);
        assert_ne!(&forged, sealed);
        forgeries.push(forged);
    };
    let parts: [fn(&mut Sealed) -> &mut Vec<u8>; 3] =
        [|sealed| &mut sealed.header, |sealed| &mut sealed.body, |sealed| &mut sealed.tag];
    for part in parts {
        for bit in 0..part(&mut sealed.clone()).len() * 8 {
            forge(&|forged| part(forged)[bit / 8] ^= 1 << (bit % 8));
        }
        forge(&|forged| part(forged).truncate(1));
        forge(&|forged| part(forged).clear());
        forge(&|forged| part(forged).truncate(part(&mut sealed.clone()).len() - 1));
        forge(&|forged| part(forged).push(0));
    }
    for bit in 0..64 {
        forge(&|forged| forged.number ^= 1 << bit);
    }
    forgeries
}

#[test]
fn what_is_sealed_opens_and_is_not_readable_before() {
    let audit = Audit::start();
    let keys = keys(&[1]);
    let mut sealer = StreamSealer::new(&keys, &SESSION, STREAM);
    let mut opener = StreamOpener::new(&keys, &SESSION, STREAM);
    // In any order: datagrams overtake each other.
    for number in [0, 1, 5, 4, 1_000_000, u64::MAX] {
        let sealed = seal(&mut sealer, number);
        assert_ne!(sealed.body, BODY);
        assert_eq!(open(&mut opener, &sealed), Ok(BODY.to_vec()));
    }
    assert_eq!(audit.sealed(), (2, 6), "the last one is of another epoch");
}

#[test]
fn an_empty_body_is_sealed_too() {
    let keys = keys(&[1]);
    let mut tag = [0; TAG_BYTES];
    StreamSealer::new(&keys, &SESSION, STREAM).seal(0, HEADER, &mut [], &mut tag);
    let mut opener = StreamOpener::new(&keys, &SESSION, STREAM);
    assert_eq!(opener.open(keys.id(), 0, HEADER, &mut [], &tag), Ok(()));
    tag[0] ^= 1;
    assert_eq!(opener.open(keys.id(), 0, HEADER, &mut [], &tag), Err(Unsealed::Forged));
}

#[test]
fn any_changed_bit_or_length_is_noticed_in_stream_and_control() {
    let keys = keys(&[1]);
    let sealed = sealed_once(&keys, &SESSION, STREAM, 9);
    let mut opener = StreamOpener::new(&keys, &SESSION, STREAM);
    for forged in forgeries(&sealed) {
        assert_eq!(open(&mut opener, &forged), Err(Unsealed::Forged), "{forged:?}");
    }
    assert_eq!(open(&mut opener, &sealed), Ok(BODY.to_vec()));

    let sealed = seal_control(&mut ControlSealer::new(&keys, &SESSION));
    let mut opener = ControlOpener::new(&keys, &SESSION);
    for forged in forgeries(&sealed) {
        assert_eq!(open_control(&mut opener, &forged), Err(Unsealed::Forged), "{forged:?}");
    }
    assert_eq!(open_control(&mut opener, &sealed), Ok(BODY.to_vec()));
}

#[test]
fn another_key_is_told_from_a_forgery() {
    let (ours, theirs) = (keys(&[1]), keys(&[2]));
    let mut sealed = sealed_once(&theirs, &SESSION, STREAM, 0);
    let mut opener = StreamOpener::new(&ours, &SESSION, STREAM);
    assert_eq!(open(&mut opener, &sealed), Err(Unsealed::WrongKey(theirs.id())));
    sealed.key_id = ours.id();
    assert_eq!(open(&mut opener, &sealed), Err(Unsealed::Forged));

    let mut sealed = seal_control(&mut ControlSealer::new(&theirs, &SESSION));
    let mut opener = ControlOpener::new(&ours, &SESSION);
    assert_eq!(open_control(&mut opener, &sealed), Err(Unsealed::WrongKey(theirs.id())));
    sealed.key_id = ours.id();
    assert_eq!(open_control(&mut opener, &sealed), Err(Unsealed::Forged));
}

#[test]
fn an_open_link_passes_everything_as_it_is() {
    let open_link = Keys::open_link();
    assert!(open_link.is_open() && open_link.knows(0) && !open_link.knows(key(1).id()));
    assert_eq!((open_link.id(), open_link.tag_bytes()), (0, 0));
    let sealed = sealed_once(&open_link, &SESSION, STREAM, 5);
    assert_eq!((sealed.key_id, &*sealed.body, &*sealed.tag), (0, BODY, &[][..]));
    let mut opener = StreamOpener::new(&open_link, &SESSION, STREAM);
    assert_eq!(open(&mut opener, &sealed), Ok(BODY.to_vec()));

    let mut sealer = ControlSealer::new(&open_link, &SESSION);
    let mut opener = ControlOpener::new(&open_link, &SESSION);
    for counter in 0..3 {
        let sealed = seal_control(&mut sealer);
        assert_eq!((sealed.number, sealed.key_id), (counter, 0));
        // Nobody vouches for a counter here, so none can be used up.
        for _ in 0..2 {
            assert_eq!(open_control(&mut opener, &sealed), Ok(BODY.to_vec()));
        }
    }
}

#[test]
fn open_and_keyed_links_do_not_mix() {
    let (open_link, keyed) = (Keys::open_link(), keys(&[1]));
    assert!(keyed.knows(key(1).id()) && !keyed.knows(0));
    for (from, to) in [(&open_link, &keyed), (&keyed, &open_link)] {
        let wrong = Err(Unsealed::WrongKey(from.id()));
        let sealed = sealed_once(from, &SESSION, STREAM, 0);
        assert_eq!(open(&mut StreamOpener::new(to, &SESSION, STREAM), &sealed), wrong);
        let sealed = seal_control(&mut ControlSealer::new(from, &SESSION));
        assert_eq!(open_control(&mut ControlOpener::new(to, &SESSION), &sealed), wrong);
    }
}

#[test]
fn an_epoch_ends_without_a_gap_and_stragglers_of_the_last_one_open() {
    let audit = Audit::start();
    let keys = keys(&[1]);
    let mut sealer = StreamSealer::new(&keys, &SESSION, STREAM);
    let mut opener = StreamOpener::new(&keys, &SESSION, STREAM);
    for boundary in [EPOCH_DATAGRAMS, 2 * EPOCH_DATAGRAMS, EPOCH_DATAGRAMS << 31] {
        let mut sealed: Vec<Sealed> =
            (boundary - 3..boundary + 3).map(|number| seal(&mut sealer, number)).collect();
        sealed.swap(1, 4);
        for sealed in &sealed {
            assert_eq!(open(&mut opener, sealed), Ok(BODY.to_vec()), "{}", sealed.number);
        }
    }
    assert_eq!(audit.sealed(), (5, 18), "epochs 0, 1, 2, and two far ones");
}

#[test]
fn forged_epochs_do_not_push_out_the_key_in_use() {
    let keys = keys(&[1]);
    let mut sealer = StreamSealer::new(&keys, &SESSION, STREAM);
    let mut opener = StreamOpener::new(&keys, &SESSION, STREAM);
    open(&mut opener, &seal(&mut sealer, 0)).unwrap();
    for epoch in 1..20 {
        let mut forged = seal(&mut sealer, epoch);
        forged.number = epoch * EPOCH_DATAGRAMS;
        assert_eq!(open(&mut opener, &forged), Err(Unsealed::Forged));
    }
    assert_eq!(opener.ready_keys(), [(keys.id(), 0)]);
    open(&mut opener, &seal(&mut sealer, EPOCH_DATAGRAMS)).unwrap();
    open(&mut opener, &seal(&mut sealer, 2 * EPOCH_DATAGRAMS)).unwrap();
    assert_eq!(opener.ready_keys(), [(keys.id(), 2), (keys.id(), 1)]);
}

#[test]
fn in_a_rotation_the_first_key_seals_and_both_open() {
    let (old, between, new) = (keys(&[1]), keys(&[2, 1]), keys(&[2]));
    assert_eq!((between.id(), new.id()), (key(2).id(), key(2).id()));
    assert!(between.knows(key(1).id()) && between.knows(key(2).id()) && !between.knows(0));
    let mut opener = StreamOpener::new(&between, &SESSION, STREAM);
    let mut control = ControlOpener::new(&between, &SESSION);
    for (at, keys) in [&old, &new].into_iter().enumerate() {
        let sealed = sealed_once(keys, &SESSION, STREAM, 5);
        assert_eq!(open(&mut opener, &sealed), Ok(BODY.to_vec()));
        let mut sealer = ControlSealer::new(keys, &SESSION);
        // One window for both keys: the counter is the session's.
        let sealed = (0..=at).map(|_| seal_control(&mut sealer)).last().unwrap();
        assert_eq!(open_control(&mut control, &sealed), Ok(BODY.to_vec()));
        assert_eq!(open_control(&mut control, &sealed), Err(Unsealed::Replayed));
    }
    let sealed = sealed_once(&between, &SESSION, STREAM, 6);
    let opened = |keys| open(&mut StreamOpener::new(keys, &SESSION, STREAM), &sealed);
    assert_eq!(opened(&new), Ok(BODY.to_vec()));
    assert_eq!(opened(&old), Err(Unsealed::WrongKey(key(2).id())));
}

#[test]
fn sessions_streams_and_epochs_have_keys_of_their_own() {
    let keys = keys(&[1]);
    let mut other = SESSION;
    other[15] ^= 1;
    let same = sealed_once(&keys, &SESSION, STREAM, 5);
    let fails = |session: &Session, stream| {
        let opened = open(&mut StreamOpener::new(&keys, session, stream), &same);
        assert_eq!(opened, Err(Unsealed::Forged));
    };
    fails(&other, STREAM);
    fails(&SESSION, StreamId::new(4, 0));
    fails(&SESSION, StreamId::new(3, 1));

    let sealed = seal_control(&mut ControlSealer::new(&keys, &SESSION));
    let opened = open_control(&mut ControlOpener::new(&keys, &other), &sealed);
    assert_eq!(opened, Err(Unsealed::Forged));

    let mut derived = std::collections::BTreeSet::new();
    for session in [SESSION, other] {
        for key in [key(1), key(2)] {
            derived.insert(control_key(&key, &session).bytes);
            for stream in (0..=u16::MAX).step_by(1013).map(StreamId) {
                for epoch in 0..3 {
                    derived.insert(stream_key(&key, &session, stream, epoch).bytes);
                }
            }
        }
    }
    assert_eq!(derived.len(), 4 * (1 + 65 * 3));
}

#[test]
fn control_datagrams_open_once_in_any_order_within_the_window() {
    let keys = keys(&[1]);
    let mut sealer = ControlSealer::new(&keys, &SESSION);
    let sealed: Vec<Sealed> = (0..4000).map(|_| seal_control(&mut sealer)).collect();
    let mut opener = ControlOpener::new(&keys, &SESSION);
    let mut opened = |at: usize| open_control(&mut opener, &sealed[at]).map(|_| ());

    for at in 0..100 {
        assert_eq!(opened(at), Ok(()));
    }
    assert_eq!(opened(1123), Ok(()));
    assert_eq!(opened(99), Err(Unsealed::Replayed), "too old to tell");
    for at in (100..1123).rev() {
        assert_eq!(opened(at), Ok(()), "{at}");
    }
    for at in 0..=1123 {
        assert_eq!(opened(at), Err(Unsealed::Replayed), "{at}");
    }
    // A jump beyond the window leaves nothing of it behind.
    assert_eq!(opened(3500), Ok(()));
    assert_eq!(opened(3500 - 1024), Err(Unsealed::Replayed));
    for at in (3500 - 1023..3500).step_by(7) {
        assert_eq!(opened(at), Ok(()), "{at}");
        assert_eq!(opened(at), Err(Unsealed::Replayed), "{at}");
    }
}

#[test]
fn a_forged_counter_moves_no_window() {
    let keys = keys(&[1]);
    let mut sealer = ControlSealer::new(&keys, &SESSION);
    let mut opener = ControlOpener::new(&keys, &SESSION);
    open_control(&mut opener, &seal_control(&mut sealer)).unwrap();
    for counter in [100, 500, 1024, 1 << 40, u64::MAX] {
        let forged = Sealed { number: counter, ..seal_control(&mut sealer) };
        assert_eq!(open_control(&mut opener, &forged), Err(Unsealed::Forged));
    }
    let next = seal_control(&mut sealer);
    assert_eq!(open_control(&mut opener, &next), Ok(BODY.to_vec()));
}

#[test]
#[should_panic(expected = "nonce 4 was used twice")]
fn sealing_a_number_twice_is_caught() {
    let _audit = Audit::start();
    let keys = keys(&[1]);
    sealed_once(&keys, &SESSION, STREAM, 4);
    sealed_once(&keys, &SESSION, STREAM, 4);
}

#[test]
fn key_ids_are_never_0_differ_and_all_that_is_printed() {
    let ids: std::collections::BTreeSet<u32> = (0..=255).map(|seed| key(seed).id()).collect();
    assert_eq!(ids.len(), 256);
    assert!(!ids.contains(&0));
    assert_eq!(format!("{:?}", keys(&[1])), format!("Keys([Key({:08x})])", key(1).id()));
}

#[test]
#[should_panic(expected = "the same key twice")]
fn the_same_key_twice_is_a_mistake() {
    keys(&[1, 1]);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Values as another implementation computed them; PROTOCOL.md gives them to authors of
/// further ones.
#[test]
fn a_second_implementation_would_derive_and_seal_the_same_bytes() {
    let key = Key::new(std::array::from_fn(|at| at as u8));
    let session: Session = std::array::from_fn(|at| 0xa0 + at as u8);
    let stream = StreamId::new(3, 2);
    let number = EPOCH_DATAGRAMS + 5;
    assert_eq!(hex(&key.id().to_le_bytes()), "927df723");
    assert_eq!(
        hex(&stream_key(&key, &session, stream, 1).bytes),
        "548896a9207484faa237e28e872f0d9c3c4ce882a675f1f2784dcde80cd42dde"
    );
    assert_eq!(
        hex(&control_key(&key, &session).bytes),
        "7b2d34ec35d9c1a34cc900fb31df7c38aae1b85ac5d18a3bcc3c491665cfd8fe"
    );

    let keys = Keys::new(vec![key]);
    let mut body = *b"netcluster";
    let mut tag = [0; TAG_BYTES];
    let mut sealer = StreamSealer::new(&keys, &session, stream);
    sealer.seal(number, b"header", &mut body, &mut tag);
    assert_eq!(hex(&body) + &hex(&tag), "0faf060cc3d56aa02b26a01a54e56d1f963ec7025fa47d57ab2e");

    let mut body = *b"netcluster";
    ControlSealer::new(&keys, &session).seal(b"header", &mut body, &mut tag);
    assert_eq!(hex(&body) + &hex(&tag), "558a8ae3fdea0201e7780ef828eef4aad0ed6309027ea7012a43");
    assert_eq!(aead::AES_256_GCM.tag_len(), TAG_BYTES);
}
