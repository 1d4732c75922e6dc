use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use super::*;
use crate::WakeTarget;

fn fill(pool: &mut BufferPool, index: BufferIndex, bytes: &[u8]) -> Bytes {
    pool.unfilled(index)[..bytes.len()].copy_from_slice(bytes);
    pool.chunk(index, bytes.len())
}

#[test]
fn several_chunks_share_a_buffer_until_the_last_is_dropped() {
    let mut pool = BufferPool::new(2, PAGE_BYTES);
    let index = pool.take().unwrap();
    let first = fill(&mut pool, index, b"first");
    let second = fill(&mut pool, index, b"second");
    assert_eq!(pool.unfilled(index).len(), PAGE_BYTES - 11);
    pool.seal(index);
    assert_eq!((pool.free(), pool.held(), pool.pinned()), (1, 0, 1));
    assert_eq!((&first[..], &second[..]), (&b"first"[..], &b"second"[..]));
    drop(first);
    pool.collect();
    assert_eq!(pool.free(), 1);
    drop(second.slice(2..));
    drop(second);
    pool.collect();
    assert_eq!((pool.free(), pool.pinned()), (2, 0));
}

#[test]
fn a_buffer_whose_chunks_went_first_is_free_when_sealed() {
    let mut pool = BufferPool::new(1, PAGE_BYTES);
    let index = pool.take().unwrap();
    drop(fill(&mut pool, index, b"x"));
    pool.collect();
    assert_eq!((pool.free(), pool.held()), (0, 1));
    assert!(pool.take().is_none());
    pool.seal(index);
    assert_eq!(pool.free(), 1);
    assert_eq!(pool.take(), Some(index));
    assert_eq!(pool.unfilled(index).len(), PAGE_BYTES, "a buffer is taken empty");
}

#[test]
fn a_last_chunk_seals() {
    let mut pool = BufferPool::new(1, PAGE_BYTES);
    let index = pool.take().unwrap();
    pool.unfilled(index)[..2].copy_from_slice(b"ab");
    let chunk = pool.last_chunk(index, 2);
    assert_eq!((pool.held(), pool.pinned()), (0, 1));
    drop(chunk);
    pool.collect();
    assert_eq!(pool.free(), 1);
}

#[test]
fn chunks_outlive_their_pool() {
    let mut pool = BufferPool::new(1, PAGE_BYTES);
    let index = pool.take().unwrap();
    let chunk = fill(&mut pool, index, b"still here");
    drop(pool);
    assert_eq!(&chunk[..], b"still here");
}

#[test]
fn a_wanted_buffer_wakes_its_owner_once() {
    struct Count(AtomicUsize);
    impl WakeTarget for Count {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let mut pool = BufferPool::new(2, PAGE_BYTES);
    pool.set_waker(Waker::new(count.clone()));
    let (a, b) = (pool.take().unwrap(), pool.take().unwrap());
    let (a, b) = (pool.last_chunk(a, 1), pool.last_chunk(b, 1));
    pool.want();
    pool.collect();
    drop(a);
    drop(b);
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
}

#[test]
fn buffers_dropped_on_other_threads_all_come_back() {
    let rounds = if cfg!(miri) { 20 } else { 20_000 };
    let mut pool = BufferPool::new(130, PAGE_BYTES);
    let (senders, threads): (Vec<_>, Vec<_>) = (0..3)
        .map(|_| {
            let (sender, receiver) = mpsc::sync_channel::<Bytes>(64);
            let thread = std::thread::spawn(move || {
                for chunk in receiver {
                    assert!(chunk.iter().all(|byte| *byte == chunk[0]));
                }
            });
            (sender, thread)
        })
        .unzip();
    for round in 0..rounds {
        let index = loop {
            match pool.take() {
                Some(index) => break index,
                None => pool.collect(),
            }
            std::thread::yield_now();
        };
        for (turn, sender) in senders.iter().enumerate() {
            let chunk = fill(&mut pool, index, &[(round + turn) as u8; 16]);
            sender.send(chunk).unwrap();
        }
        pool.seal(index);
    }
    drop(senders);
    for thread in threads {
        thread.join().unwrap();
    }
    pool.collect();
    assert_eq!((pool.free(), pool.pinned(), pool.held()), (130, 0, 0));
}
