//! Second baseline: the least that a program does that is written for this one load. It
//! has no client library and no broker's features.
//!
//! ```text
//!   emitter ═══ length, payload ═══► relay ═══ length, payload ═══► listener
//! ```
//! An event is its payload behind the payload's length (`u32`, little-endian), without a
//! name. The emitter appends events to one buffer and writes it when [`BATCH_BYTES`] have
//! gathered (at a rate: after each event); the listener reads into one buffer and walks
//! it: one thread each, blocking sockets of the same kind and size of buffers as the
//! client's. In the middle stands the relay.
//!
//! The emitter stamps each payload and the listener checks and counts it exactly as those
//! on the client crate do, so what differs is the client and the broker. What is absent:
//! names, patterns and channels, several listeners in a process, threads that may all
//! emit, a flush by time, reconnecting, pings, backpressure other than the socket's,
//! notices of loss, limits, statistics; and round trips, which measure wake-ups.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use anyhow::{Context, Result, bail};
use rustix::net::sockopt::set_socket_send_buffer_size;

use crate::delivery_check::DeliveryCheck;
use crate::emitter::{Loop, Outlet, park, take_commands};
use crate::listener::answer_commands;
use crate::message::{Report, report};
use crate::meter::Meter;
use crate::plan::{EmitterPlan, ListenerPlan};
use crate::stamp::{self, Template};

/// Bytes that one write takes, as in the client.
const BATCH_BYTES: usize = 64 * 1024;
/// Room for what one read may bring, in bytes.
const READ_BYTES: usize = 256 * 1024;
/// Send buffer of a socket, as the client sets it, so that both are as good as sockets
/// get.
const SEND_BUFFER_BYTES: usize = 512 * 1024;
const LENGTH_BYTES: usize = size_of::<u32>();
/// Length of the longest name of a client, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// Emits until told to quit.
pub fn emit(plan: EmitterPlan) -> Result<()> {
    crate::clock::sharpen_sleeps();
    let stream = connect(&plan.socket, &plan.name)?;
    let batch_bytes = if plan.rate.is_some() { 0 } else { BATCH_BYTES };
    let mut sender = Sender { stream, batch: Vec::with_capacity(2 * BATCH_BYTES), batch_bytes };
    let stop = Arc::new(AtomicBool::new(false));
    let go = take_commands(false, Arc::new(Meter::new(Vec::new())), Arc::clone(&stop));
    report(&Report::Ready { driver: None });
    if go.recv().is_err() {
        return Ok(());
    }
    let emitted = Loop::new(&plan, &mut sender, &stop).run()?;
    sender.flush()?;
    report(&Report::Emitted(emitted));
    park()
}

/// Listens until told to quit.
pub fn listen(plan: ListenerPlan) -> Result<()> {
    let stream = connect(&plan.socket, &plan.name)?;
    let template = Arc::new(Template::new(plan.size));
    let check = DeliveryCheck::new(plan.event.0, plan.emitters, template, plan.verify_full);
    let meter = Arc::new(Meter::new(vec![check]));
    let counted = Arc::clone(&meter);
    thread::spawn(move || {
        let record = |payload: &[u8]| {
            if counted.check(0).record(payload)
                && plan.timed
                && let Some(at) = stamp::intended_ns(payload)
            {
                counted.record_latency(at);
            }
        };
        if let Err(error) = receive(stream, plan.size, record) {
            report(&Report::Failed(format!("{error:#}")));
        }
        // Not by returning: the thread's CPU time would be gone with it.
        park()
    });
    report(&Report::Ready { driver: None });
    answer_commands(&meter);
    Ok(())
}

/// Reads the name with which a connection begins; the bytes that follow stay in the
/// socket.
pub fn read_name(stream: &mut UnixStream) -> Result<String> {
    let mut length = [0; LENGTH_BYTES];
    stream.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_NAME_BYTES {
        bail!("a name of {length} bytes");
    }
    let mut name = vec![0; length];
    stream.read_exact(&mut name)?;
    Ok(String::from_utf8(name)?)
}

fn connect(socket: &Path, name: &str) -> Result<UnixStream> {
    let mut stream = UnixStream::connect(socket)
        .with_context(|| format!("cannot connect to {}", socket.display()))?;
    set_socket_send_buffer_size(&stream, SEND_BUFFER_BYTES)?;
    let mut hello = Vec::new();
    append(&mut hello, name.as_bytes());
    stream.write_all(&hello)?;
    Ok(stream)
}

#[inline]
fn append(out: &mut Vec<u8>, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(payload);
}

struct Sender {
    stream: UnixStream,
    batch: Vec<u8>,
    batch_bytes: usize,
}

impl Sender {
    fn flush(&mut self) -> Result<()> {
        self.stream.write_all(&self.batch).context("cannot write to the relay")?;
        self.batch.clear();
        Ok(())
    }
}

impl Outlet for &mut Sender {
    #[inline]
    fn emit(&mut self, _: &str, payload: &[u8]) -> Result<()> {
        append(&mut self.batch, payload);
        if self.batch.len() >= self.batch_bytes { self.flush() } else { Ok(()) }
    }
}

/// Gives each payload to `each` until the other end closes the connection.
fn receive(mut stream: impl Read, size: usize, mut each: impl FnMut(&[u8])) -> Result<()> {
    let mut buffer = vec![0; READ_BYTES.max(2 * (LENGTH_BYTES + size))];
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).context("cannot read from the relay")?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        let mut rest = &buffer[..filled];
        while let Some((length, behind)) = rest.split_first_chunk::<LENGTH_BYTES>() {
            let length = u32::from_le_bytes(*length) as usize;
            if length > size {
                bail!("an event of {length} bytes, where there are none of more than {size}");
            }
            let Some((payload, behind)) = behind.split_at_checked(length) else { break };
            each(payload);
            rest = behind;
        }
        let left = rest.len();
        buffer.copy_within(filled - left..filled, 0);
        filled = left;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stream that brings so many bytes with each read.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let length = self.1.min(self.0.len());
            (&mut self.0).read(&mut buffer[..length])
        }
    }

    #[test]
    fn payloads_come_whole_however_reads_cut_them() {
        let payloads = [&b"first"[..], b"", b"the second one"];
        let mut bytes = Vec::new();
        payloads.iter().for_each(|payload| append(&mut bytes, payload));
        for cut in 1..=bytes.len() {
            let mut got = Vec::new();
            receive(Pieces(&bytes, cut), 14, |payload| got.push(payload.to_vec())).unwrap();
            assert_eq!(got, payloads, "reads of {cut} bytes");
        }
    }

    #[test]
    fn a_length_beyond_the_payloads_is_an_error() {
        let error = receive(&[15, 0, 0, 0, 1][..], 14, |_| ()).unwrap_err();
        assert!(error.to_string().contains("15 bytes"), "{error}");
    }
}
