//! The four ways of waiting: whoever sleeps is rung for, or has seen that he need not.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p netcluster-shm --lib loom`

use loom::sync::Arc;
use loom::thread;

use crate::layout::MIN_RING_BYTES;
use crate::{Descriptor, DescriptorReader, DescriptorWriter, Region, RingReader, RingWriter};

const DESCRIPTOR: Descriptor = Descriptor::Arena { offset: 7, bytes: 9 };

fn region() -> std::sync::Arc<Region> {
    Region::model()
}

#[test]
fn loom_a_reader_sees_the_bytes_or_is_rung_for() {
    loom::model(|| {
        let region = region();
        let mut reader = RingReader::new(std::sync::Arc::clone(&region));
        let mut writer = RingWriter::in_memory(region);
        let thread = thread::spawn(move || {
            writer.append(1);
            writer.put()
        });
        let sleeps = reader.wait().unwrap();
        let rung = thread.join().unwrap();
        assert!(!sleeps || rung);
        assert_eq!(reader.look(), Ok(1));
    });
}

#[test]
fn loom_a_writer_sees_the_room_or_is_rung_for() {
    loom::model(|| {
        let region = region();
        let mut reader = RingReader::new(std::sync::Arc::clone(&region));
        let mut writer = RingWriter::in_memory(region);
        writer.append(MIN_RING_BYTES);
        let _ = writer.put();
        let thread = thread::spawn(move || {
            assert_eq!(reader.look(), Ok(MIN_RING_BYTES));
            reader.take(&mut vec![0; MIN_RING_BYTES]);
            reader.tell()
        });
        let sleeps = writer.want_room(1);
        let rung = thread.join().unwrap();
        assert!(!sleeps || rung);
        assert_eq!(writer.room(), MIN_RING_BYTES);
    });
}

#[test]
fn loom_what_is_put_as_the_broker_ends_is_taken_by_one() {
    loom::model(|| {
        let region = region();
        let mut reader = RingReader::new(std::sync::Arc::clone(&region));
        let mut writer = RingWriter::in_memory(region);
        let thread = thread::spawn(move || {
            writer.append(1);
            let _ = writer.put();
            writer.position() == writer.untaken_from()
        });
        let taken = reader.end().unwrap() == 1;
        assert_eq!(thread.join().unwrap(), taken);
    });
}

#[test]
fn loom_a_client_sees_the_descriptor_or_is_rung_for() {
    loom::model(|| {
        let region = region();
        let mut writer = DescriptorWriter::new(std::sync::Arc::clone(&region));
        let mut reader = DescriptorReader::new(region);
        let thread = thread::spawn(move || {
            writer.push(DESCRIPTOR);
            writer.tell()
        });
        let sleeps = reader.wait();
        if !sleeps {
            assert_eq!(reader.take(), Some(DESCRIPTOR), "the words come with the tail");
        }
        let rung = thread.join().unwrap();
        assert!(!sleeps || rung);
    });
}

#[test]
fn loom_a_broker_sees_the_release_or_is_rung_for() {
    loom::model(|| {
        let region = region();
        let mut writer = DescriptorWriter::new(std::sync::Arc::clone(&region));
        let mut reader = DescriptorReader::new(region);
        writer.push(DESCRIPTOR);
        let _ = writer.tell();
        let thread = thread::spawn(move || {
            assert!(reader.take().is_some());
            reader.release()
        });
        let sleeps = writer.want_release(1);
        let rung = thread.join().unwrap();
        assert!(!sleeps || rung);
        assert_eq!(writer.look(), Ok(1));
    });
}

#[test]
fn loom_a_range_is_used_again_after_its_last_reader() {
    loom::model(|| {
        let region = region();
        let mut writer = DescriptorWriter::new(std::sync::Arc::clone(&region));
        let mut reader = DescriptorReader::new(region);
        let range = Arc::new(loom::cell::UnsafeCell::new(1));
        writer.push(DESCRIPTOR);
        let _ = writer.tell();
        let read = Arc::clone(&range);
        let thread = thread::spawn(move || {
            assert!(reader.take().is_some());
            // SAFETY: the model checks it.
            assert_eq!(read.with(|value| unsafe { *value }), 1);
            let _ = reader.release();
        });
        if writer.look() == Ok(1) {
            // SAFETY: the model checks it.
            range.with_mut(|value| unsafe { *value = 2 });
        }
        thread.join().unwrap();
    });
}
