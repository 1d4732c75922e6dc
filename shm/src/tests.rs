//! Rings and descriptors with both ends in one process: over the heap, and over files.

use std::os::fd::AsFd;
use std::sync::Arc;

use crate::layout::{DESCRIPTORS, MAX_RING_BYTES, MIN_RING_BYTES};
use crate::{
    ClientRegion, Descriptor, DescriptorReader, DescriptorWriter, Region, RegionFiles,
    ReleaseFault, RingFault, RingReader, RingWriter,
};

/// Both ends of a ring, over the heap and, where there are such, over files.
fn rings(check: impl Fn(RingReader, RingWriter, &Region)) {
    let region = Region::in_memory();
    check(
        RingReader::new(Arc::clone(&region)),
        RingWriter::in_memory(Arc::clone(&region)),
        &region,
    );
    if cfg!(miri) {
        return;
    }
    let files = RegionFiles::new().unwrap();
    files.reserve_ring().unwrap();
    let given = files.descriptors().map(|fd| fd.try_clone_to_owned().unwrap());
    let client = ClientRegion::new(given).unwrap();
    let writer = RingWriter::new(client).unwrap();
    check(RingReader::new(Arc::clone(files.region())), writer, files.region());
}

/// Bytes whose order shows.
fn pattern(start: usize, length: usize) -> Vec<u8> {
    (start..start + length).map(|at| (at ^ (at >> 8)) as u8).collect()
}

#[test]
fn bytes_come_out_in_order_across_the_ring_s_end() {
    rings(|mut reader, mut writer, _| {
        let (mut put, mut taken) = (0, 0);
        let steps: &[usize] =
            if cfg!(miri) { &[50_000, 30_000] } else { &[1, 50_000, 30_000, 65_536, 7] };
        for &step in steps.iter().cycle().take(steps.len() * if cfg!(miri) { 1 } else { 9 }) {
            assert_eq!(writer.copy(&pattern(put, step)), step);
            assert_eq!(writer.appended(), step);
            assert_eq!(reader.look(), Ok(0), "it is not put");
            let _ = writer.put();
            put += step;
            assert_eq!(reader.look(), Ok(step));
            while taken < put {
                let mut bytes = vec![0; (put - taken).min(40_000)];
                reader.take(&mut bytes);
                assert!(bytes == pattern(taken, bytes.len()));
                taken += bytes.len();
            }
            let _ = reader.tell();
        }
    });
}

#[test]
fn a_full_ring_has_room_when_it_is_told() {
    rings(|mut reader, mut writer, _| {
        assert_eq!(writer.copy(&vec![1; 2 * MIN_RING_BYTES]), MIN_RING_BYTES);
        let _ = writer.put();
        assert!(writer.space(1).is_none());
        assert!(writer.want_room(1), "it will be rung for");
        assert_eq!(reader.look(), Ok(MIN_RING_BYTES));
        reader.take(&mut [0; 100]);
        assert_eq!(writer.room(), 0, "nothing is told");
        assert!(!reader.tell(), "half of the ring is asked for");
        assert_eq!(writer.room(), 100);
        reader.take(&mut vec![0; MIN_RING_BYTES / 2]);
        assert!(reader.tell(), "ring");
        assert!(!reader.tell(), "once");
        assert!(!writer.want_room(1), "there is room");
    });
}

#[test]
fn what_was_not_put_can_be_taken_back() {
    rings(|mut reader, mut writer, _| {
        assert_eq!(writer.copy(&vec![0; 60_000]), 60_000);
        let _ = writer.put();
        assert_eq!(reader.look(), Ok(60_000));
        reader.take(&mut vec![0; 60_000]);
        let _ = reader.tell();
        // Across the end of the ring.
        let bytes = pattern(0, 20_000);
        assert_eq!(writer.copy(&bytes), 20_000);
        assert!(writer.take_back() == bytes);
        assert_eq!(writer.appended(), 0);
        assert!(!writer.put());
        assert_eq!(reader.look(), Ok(0));
    });
}

#[test]
fn a_ring_grows_when_it_is_allowed_and_empty() {
    rings(|mut reader, mut writer, _| {
        assert!(!writer.grow(), "it is not allowed");
        reader.allow_largest();
        assert_eq!(writer.copy(&pattern(0, 1000)), 1000);
        assert!(!writer.grow(), "it is not empty");
        let _ = writer.put();
        assert_eq!(reader.look(), Ok(1000));
        reader.take(&mut [0; 1000]);
        assert!(!writer.grow(), "the writer does not know");
        let _ = reader.tell();
        assert!(writer.grow());
        assert!(!writer.grow(), "it is the largest");
        assert_eq!((writer.size(), writer.room()), (MAX_RING_BYTES, MAX_RING_BYTES));
        let bytes = pattern(9, MAX_RING_BYTES);
        if cfg!(miri) {
            return;
        }
        assert_eq!(writer.copy(&bytes), MAX_RING_BYTES);
        let _ = writer.put();
        assert_eq!(reader.look(), Ok(MAX_RING_BYTES));
        assert_eq!(reader.size(), MAX_RING_BYTES);
        let mut taken = vec![0; MAX_RING_BYTES];
        reader.take(&mut taken);
        assert!(taken == bytes);
    });
}

#[test]
fn a_reader_that_waits_is_rung_for_once() {
    rings(|mut reader, mut writer, _| {
        writer.copy(b"one");
        assert!(!writer.put(), "nobody waits");
        assert_eq!(reader.wait(), Ok(false), "there is something");
        reader.take(&mut [0; 3]);
        assert_eq!(reader.wait(), Ok(true));
        writer.copy(b"two");
        assert!(writer.put());
        writer.copy(b"three");
        assert!(!writer.put(), "it was rung");
    });
}

#[test]
fn words_that_break_the_rules_are_faults() {
    // The words that the client writes, in the order of `Region::set_word`.
    let (ring_tail, ring_bytes, descriptor_head) = (3, 9, 4);
    for tail in [MIN_RING_BYTES as u64 + 1, u64::MAX, u64::MAX - 3] {
        rings(|mut reader, _, region| {
            region.set_word(ring_tail, tail);
            assert_eq!(reader.look(), Err(RingFault::Tail));
            assert_eq!(reader.wait(), Err(RingFault::Tail));
        });
    }
    for size in [1, 4096, 65_537, 1 << 20, u64::MAX] {
        rings(|mut reader, _, region| {
            region.set_word(ring_bytes, size);
            assert_eq!(reader.look(), Err(RingFault::Size), "{size}");
        });
    }
    rings(|mut reader, mut writer, region| {
        writer.copy(b"some");
        let _ = writer.put();
        assert_eq!(reader.look(), Ok(4));
        region.set_word(ring_tail, 3);
        assert_eq!(reader.look(), Err(RingFault::Tail), "it goes back");
    });
    let region = Region::in_memory();
    let mut writer = DescriptorWriter::new(Arc::clone(&region));
    writer.push(Descriptor::Socket { bytes: 1 });
    region.set_word(descriptor_head, 1);
    assert_eq!(writer.look(), Err(ReleaseFault), "the client was not told of it");
    let _ = writer.tell();
    assert_eq!(writer.look(), Ok(1));
    region.set_word(descriptor_head, 0);
    assert_eq!(writer.look(), Err(ReleaseFault), "it takes it back");
    region.set_word(descriptor_head, u64::MAX);
    assert_eq!(writer.look(), Err(ReleaseFault));
}

#[test]
fn descriptors_go_round_and_are_released_in_order() {
    let region = Region::in_memory();
    let mut writer = DescriptorWriter::new(Arc::clone(&region));
    let mut reader = DescriptorReader::new(region);
    let nth = |at: u64| match at % 2 {
        0 => Descriptor::Arena { offset: at << 20, bytes: at as u32 },
        _ => Descriptor::Socket { bytes: u32::MAX - at as u32 },
    };
    for at in 0..3 * DESCRIPTORS as u64 {
        if writer.room() == 0 {
            assert!(writer.want_release(writer.written()), "none is released");
            assert!(reader.release(), "ring");
            assert_eq!(writer.look(), Ok(DESCRIPTORS));
        }
        writer.push(nth(at));
        assert!(!reader.is_there(), "it is not told");
        let _ = writer.tell();
        assert_eq!(reader.take(), Some(nth(at)));
        assert_eq!(reader.take(), None);
    }
    assert!(reader.wait(), "there is none");
    writer.look().unwrap();
    let _ = reader.release();
    writer.look().unwrap();
    writer.push(nth(0));
    assert!(writer.tell(), "ring");
    assert!(!reader.wait(), "there is one");
}

#[cfg(not(miri))]
#[test]
fn bells_are_heard_until_they_are_silenced() {
    let files = RegionFiles::new().unwrap();
    let given = files.descriptors().map(|fd| fd.try_clone_to_owned().unwrap());
    let client = ClientRegion::new(given).unwrap();
    let (ours, theirs) = (files.bells(), client.bells());
    for (rings, hears) in
        [(&theirs.broker, &ours.broker), (&ours.client, &theirs.client), (&ours.room, &theirs.room)]
    {
        let is_rung = || {
            let mut watched = [rustix::event::PollFd::new(hears, rustix::event::PollFlags::IN)];
            let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
            rustix::event::poll(&mut watched, Some(&now)).unwrap() == 1
        };
        assert!(!is_rung() && !hears.silence());
        // So often that a socket is full.
        for _ in 0..2000 {
            rings.ring();
        }
        assert!(is_rung());
        assert!(hears.silence());
        assert!(!is_rung());
    }
    // The broker has the other end alone: what a client does to its own is its affair.
    rustix::io::ioctl_fionbio(theirs.client.as_fd(), false).unwrap();
    for _ in 0..2000 {
        ours.client.ring();
    }
}

/// A broker that ends leaves the client what it does not take, to be emitted again.
#[test]
fn what_is_put_behind_the_end_comes_back() {
    rings(|mut reader, mut writer, _| {
        writer.copy(b"taken");
        assert!(!writer.put());
        assert_eq!(reader.end(), Ok(5));
        assert!(writer.is_ended());
        writer.copy(b"late");
        assert!(!writer.put());
        writer.copy(b"later");
        let mut taken = [0; 5];
        reader.take(&mut taken);
        assert_eq!(&taken, b"taken");
        assert_eq!(writer.untaken_from(), 5);
        assert_eq!(writer.take_back(), b"latelater");
    });
}
