//! Packets without a protocol: the most that this machine's network can do.
//!
//! ```text
//!   sender ── trains of full packets, each with its number ──▶ receivers
//!     ▲                                                            │ count
//!     └───────── how far I am, every few hundred packets ──────────┘
//! ```
//! The sender keeps within what a receive buffer holds, so that receivers are not simply
//! overrun; nothing is repaired, and nothing is done with the bytes. At a rate, each
//! packet is sent alone and carries the time at which it was due: no link can do better
//! than the time that it takes to wake a receiver up.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::socket::{setsockopt, sockopt};
use rustix::net::sockopt as buffers;

use crate::clock;
use crate::delivery_check::{Counts, Emitted};
use crate::link::plan::{RAW_SENDER_PORT, RawReceiverPlan, RawSenderPlan, due_ns};
use crate::message::{Command, Report, Sample, next_command, report};
use crate::meter::Meter;

/// Socket buffer that is asked for, in bytes; the system may grant less.
const BUFFER_BYTES: usize = 8 << 20;
/// Bytes of a receive buffer that a packet takes, with the kernel's overhead.
const PACKET_COST_BYTES: usize = 2304;
/// Length of the longest train that IP takes, in bytes.
const MAX_TRAIN_BYTES: usize = 65_535 - 28;
const MAX_TRAIN_PACKETS: usize = 64;
/// Number of times in a window that receivers tell how far they are.
const REPORTS_PER_WINDOW: u64 = 8;
/// Time without a word after which packets that are under way count as gone.
const STALL: Duration = Duration::from_millis(50);
/// Time that the last packets get.
const DRAIN: Duration = Duration::from_millis(200);
const NUMBER_BYTES: usize = 8;
const WORD_BYTES: usize = NUMBER_BYTES + 2;
/// Place where a packet that is sent at a rate says when it was due.
const INTENDED: Range<usize> = NUMBER_BYTES..NUMBER_BYTES + 8;

/// Returns how many packets a receive buffer of this size holds, with some to spare.
fn window_packets(granted_bytes: usize) -> u64 {
    (granted_bytes * 4 / 5 / PACKET_COST_BYTES) as u64
}

/// Sends packets until told to quit.
pub fn send(plan: RawSenderPlan) -> Result<()> {
    let socket = UdpSocket::bind((plan.address, RAW_SENDER_PORT))?;
    // The system's limit is what we get.
    let _ = buffers::set_socket_send_buffer_size(socket.as_fd(), BUFFER_BYTES);
    let _ = buffers::set_socket_recv_buffer_size(socket.as_fd(), BUFFER_BYTES);
    // As the receivers' buffers are: all hosts are of one kernel.
    let window = window_packets(buffers::socket_recv_buffer_size(socket.as_fd())?);
    socket.set_multicast_loop_v4(false)?;
    socket.set_read_timeout(Some(STALL))?;
    let segment = i32::try_from(plan.datagram_bytes)?;
    setsockopt(&socket, sockopt::UdpGsoSegment, &segment).context("the kernel has no GSO")?;
    let stop = Arc::new(AtomicBool::new(false));
    let (go, started) = std::sync::mpsc::channel();
    let stopped = Arc::clone(&stop);
    thread::spawn(move || {
        loop {
            match next_command() {
                Command::Go => drop(go.send(())),
                Command::Stop => stopped.store(true, Relaxed),
                Command::Quit => std::process::exit(0),
                Command::Sample | Command::Finish(_) => {}
            }
        }
    });
    report(&Report::Ready { driver: None });
    started.recv()?;
    let count = Sender { plan: &plan, socket, window, sent: 0 }.run(&stop)?;
    report(&Report::Emitted(vec![Emitted { emitter: 0, event: 0, count }]));
    loop {
        thread::park();
    }
}

struct Sender<'a> {
    plan: &'a RawSenderPlan,
    socket: UdpSocket,
    window: u64,
    sent: u64,
}

impl Sender<'_> {
    fn run(mut self, stop: &AtomicBool) -> Result<u64> {
        if let Some(rate) = self.plan.rate {
            return self.run_at(rate, stop);
        }
        let bytes = self.plan.datagram_bytes;
        let packets = (MAX_TRAIN_BYTES / bytes).clamp(1, MAX_TRAIN_PACKETS);
        let mut train = vec![0xa5; packets * bytes];
        let mut positions = vec![0; self.plan.receivers];
        while !stop.load(Relaxed) {
            for packet in train.chunks_mut(bytes) {
                packet[..NUMBER_BYTES].copy_from_slice(&self.sent.to_le_bytes());
                self.sent += 1;
            }
            self.socket.send_to(&train, self.plan.group)?;
            let slowest = |positions: &[u64]| positions.iter().copied().min().unwrap_or(u64::MAX);
            while self.sent.saturating_sub(slowest(&positions)) > self.window {
                self.hear(&mut positions);
            }
        }
        Ok(self.sent)
    }

    /// Sends packets one by one, each when it is due.
    fn run_at(mut self, rate: u64, stop: &AtomicBool) -> Result<u64> {
        let mut packet = vec![0xa5; self.plan.datagram_bytes];
        let since_ns = clock::now_ns();
        while !stop.load(Relaxed) {
            let intended_ns = since_ns + due_ns(self.sent, rate);
            if clock::now_ns() < intended_ns {
                std::hint::spin_loop();
                continue;
            }
            packet[..NUMBER_BYTES].copy_from_slice(&self.sent.to_le_bytes());
            packet[INTENDED].copy_from_slice(&intended_ns.to_le_bytes());
            self.socket.send_to(&packet, self.plan.group)?;
            self.sent += 1;
        }
        Ok(self.sent)
    }

    /// Waits for one receiver's word.
    fn hear(&self, positions: &mut [u64]) {
        let mut word = [0; WORD_BYTES];
        match self.socket.recv(&mut word) {
            Ok(WORD_BYTES) => {
                let (number, index) = word.split_at(NUMBER_BYTES);
                let number = u64::from_le_bytes(number.try_into().expect("eight bytes"));
                let index = u16::from_le_bytes(index.try_into().expect("two bytes"));
                if let Some(position) = positions.get_mut(usize::from(index)) {
                    *position = number.max(*position);
                }
            }
            Ok(_) => {}
            Err(_) => positions.fill(self.sent),
        }
    }
}

/// Counts packets until told to quit.
pub fn receive(plan: RawReceiverPlan) -> Result<()> {
    let socket = UdpSocket::bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, plan.group.port()))?;
    socket.join_multicast_v4(plan.group.ip(), &plan.address)?;
    let _ = buffers::set_socket_recv_buffer_size(socket.as_fd(), BUFFER_BYTES);
    let window = window_packets(buffers::socket_recv_buffer_size(socket.as_fd())?);
    setsockopt(&socket, sockopt::UdpGroSegment, &true).context("the kernel has no GRO")?;
    let answers = UdpSocket::bind((plan.address, 0))?;
    let received = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&received);
    let meter = Arc::new(Meter::new(Vec::new()));
    let timed = Arc::clone(&meter);
    thread::spawn(move || {
        if let Err(error) = count(&plan, &socket, &answers, window, &counted, &timed) {
            report(&Report::Failed(error.to_string()));
        }
    });
    report(&Report::Ready { driver: None });
    let sample = || Sample { received: received.load(Relaxed), ..meter.sample() };
    loop {
        match next_command() {
            Command::Sample => report(&Report::Sample(sample())),
            Command::Finish(totals) => {
                thread::sleep(DRAIN);
                let sample = sample();
                let sent: u64 = totals.iter().map(|total| total.count).sum();
                let lost = sent.saturating_sub(sample.received);
                let counts = Counts { received: sample.received, lost, ..Counts::default() };
                report(&Report::Finished { counts, sample });
            }
            Command::Go | Command::Stop => {}
            Command::Quit => std::process::exit(0),
        }
    }
}

fn count(
    plan: &RawReceiverPlan,
    socket: &UdpSocket,
    answers: &UdpSocket,
    window: u64,
    received: &AtomicU64,
    meter: &Meter,
) -> Result<()> {
    let mut train = vec![0; 1 << 16];
    let mut told = 0;
    loop {
        let bytes = socket.recv(&mut train)?;
        let packets = bytes.div_ceil(plan.datagram_bytes);
        if packets == 0 {
            continue;
        }
        received.store(received.load(Relaxed) + packets as u64, Relaxed);
        if plan.is_timed {
            meter.record_latency(intended_ns(&train));
            continue;
        }
        let last = &train[(packets - 1) * plan.datagram_bytes..];
        let number =
            last.first_chunk::<NUMBER_BYTES>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        if number >= told + window / REPORTS_PER_WINDOW {
            told = number;
            let mut word = (number + 1).to_le_bytes().to_vec();
            word.extend(plan.index.to_le_bytes());
            // The next one says more.
            let _ = answers.send_to(&word, plan.sender);
        }
    }
}

fn intended_ns(packet: &[u8]) -> u64 {
    u64::from_le_bytes(packet[INTENDED].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_what_four_fifths_of_a_buffer_hold() {
        assert_eq!(window_packets(8 << 20), 2912);
        assert_eq!(window_packets(0), 0);
    }
}
