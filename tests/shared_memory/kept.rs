//! Messages that are kept while the memory they came in is used again and again.

use crate::common::on_sharing;
use crate::common::{Bed, patterned, take};
use crate::share;

const KEPT: u64 = 10_000;

on_sharing! {
    fn what_is_kept_stays_as_it_was(bed) {
        let bus = bed.bus();
        let (emitter, listener) = (bus.client(), bus.client());
        share(&bus, &listener);
        share(&bus, &emitter);
        let length = |number: u64| (number * 37 % 3000) as usize;
        let (sender, kept) = std::sync::mpsc::channel();
        listener
            .on("n", move |message| {
                // Each way to keep one.
                let bytes = message.payload_bytes();
                sender.send((bytes, message.into_owned())).unwrap();
            })
            .unwrap();
        let events = listener.subscribe("n").unwrap();
        let mut taken = Vec::new();
        for number in 0..KEPT {
            emitter.emit("n", patterned(number, length(number))).unwrap();
            taken.push(take(&events));
        }
        // More than all memory that is shared, several times over.
        let others = listener.subscribe("other").unwrap();
        let other = vec![0xee; 60_000];
        for _ in 0..1000 {
            emitter.emit("other", &other).unwrap();
            assert!(take(&others).payload() == other);
        }
        for (number, message) in (0..KEPT).zip(&taken) {
            let payload = patterned(number, length(number));
            assert!(message.payload() == payload, "event {number}");
            let (bytes, owned) = kept.try_recv().expect("it was handled");
            assert!(bytes == payload && owned.payload() == payload, "event {number}");
        }
    }
}
