//! The thread that writes the log, and may stand still as long as it likes.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use netcluster::internals::LogCounts;
use tracing::Level;

use super::lines::stamped;
use super::queue::{Entry, Queue};
use super::rates::Rates;

/// Pause before the next try of an output that does not wait by itself and has no room.
const NO_ROOM_PAUSE: Duration = Duration::from_millis(10);

/// Writes what is queued, and sums as they are due.
pub struct Writer<W> {
    out: W,
    queue: Arc<Queue>,
    rates: Arc<Rates>,
    counts: Arc<LogCounts>,
    /// Lines that are missing here and that the log could not say so far.
    missing: u64,
    /// A line was written in part.
    is_torn: bool,
}

impl<W: Write> Writer<W> {
    /// Makes a writer that has written nothing yet.
    pub fn new(out: W, queue: Arc<Queue>, rates: Arc<Rates>, counts: Arc<LogCounts>) -> Writer<W> {
        Writer { out, queue, rates, counts, missing: 0, is_torn: false }
    }

    /// Writes for as long as the process lives.
    pub fn run(mut self) {
        loop {
            self.turn();
        }
    }

    fn turn(&mut self) {
        match self.queue.take(self.rates.due()) {
            Some(Entry::Line(line)) => self.tell(&line),
            Some(Entry::Lost(lines)) => {
                self.missing += lines;
                self.tell_missing();
            }
            None => {}
        }
        for sum in self.rates.sums(Instant::now()) {
            self.tell(&stamped(sum.level, sum.text));
        }
    }

    /// Writes a line, or counts it.
    fn tell(&mut self, line: &[u8]) {
        self.tell_missing();
        if self.missing > 0 || self.write(line).is_err() {
            self.missing += 1;
            self.counts.lost(1);
        }
    }

    /// Says how many lines are missing, if any are and it can.
    fn tell_missing(&mut self) {
        if self.missing == 0 {
            return;
        }
        let missing = self.missing;
        let text = format_args!(
            "{} missing here in the log: nothing could be written, or not as fast as they came",
            match missing {
                1 => "1 line is".to_owned(),
                many => format!("{many} lines are"),
            }
        );
        if self.write(&stamped(Level::WARN, text)).is_ok() {
            self.missing = 0;
        }
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.is_torn {
            self.write_all(b"\n")?;
            self.is_torn = false;
        }
        self.write_all(line)
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.out.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    bytes = &bytes[written..];
                    self.is_torn = !bytes.is_empty();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(NO_ROOM_PAUSE),
                Err(error) => return Err(error),
            }
        }
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::super::queue::MAX_QUEUED_BYTES;
    use super::*;

    /// Takes some bytes, then fails until it is mended.
    struct Disk {
        written: Vec<u8>,
        room_bytes: usize,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.room_bytes);
            self.room_bytes -= taken;
            self.written.extend_from_slice(&bytes[..taken]);
            if taken == 0 { Err(ErrorKind::StorageFull.into()) } else { Ok(taken) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn writer(room_bytes: usize) -> Writer<Disk> {
        let counts: Arc<LogCounts> = Arc::default();
        let rates = Arc::new(Rates::new(Arc::clone(&counts)));
        let queue = Arc::new(Queue::new(Arc::clone(&counts)));
        Writer::new(Disk { written: Vec::new(), room_bytes }, queue, rates, counts)
    }

    fn written(writer: &Writer<Disk>) -> String {
        String::from_utf8(writer.out.written.clone()).unwrap()
    }

    #[test]
    fn a_full_disk_costs_lines_that_are_counted_and_told_once_there_is_room() {
        let mut writer = writer(9);
        for line in ["one\n", "second\n", "third\n"] {
            writer.queue.push(line.into());
            writer.turn();
        }
        assert_eq!(writer.counts.status().lost, 2);
        writer.out.room_bytes = 1000;
        writer.queue.push("fourth\n".into());
        writer.turn();
        let text = written(&writer);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines[0], lines[1], lines[3]), ("one", "secon", "fourth"), "{text}");
        assert!(lines[2].contains("WARN 2 lines are missing here"), "{text}");
    }

    #[test]
    fn lines_that_had_no_room_are_told_where_they_are_missing() {
        let mut writer = writer(2 * MAX_QUEUED_BYTES);
        let mut long = vec![b'x'; MAX_QUEUED_BYTES];
        *long.last_mut().unwrap() = b'\n';
        writer.queue.push(long);
        writer.queue.push("lost\n".into());
        writer.turn();
        writer.queue.push("after\n".into());
        writer.turn();
        writer.turn();
        let text = written(&writer);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].contains("WARN 1 line is missing here"), "{}", lines[1]);
        assert_eq!(lines[2], "after");
    }
}
