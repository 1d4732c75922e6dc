//! A client that writes its frames byte by byte, right or wrong.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::path::Path;

use netcluster::status::Status;
use netcluster_wire::control::{decode_error, decode_pong};
use netcluster_wire::frame::encode;
use netcluster_wire::limits::HARD_MAX_PAYLOAD_BYTES;
use netcluster_wire::{ErrorCode, Frame, Hello, Kind, Source, Welcome};

use super::PATIENCE;
use super::transport::Stream;

const READ_BYTES: usize = 256 << 10;

/// Frame from the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    pub kind: Kind,
    pub source: Source,
    pub sequence: u64,
    pub name: String,
    pub payload: Vec<u8>,
}

impl Got {
    /// Reads code and text of an error frame.
    pub fn error(&self) -> (ErrorCode, String) {
        assert_eq!(self.kind, Kind::Error, "{self:?}");
        decode_error(&self.payload).expect("an error frame says why")
    }
}

pub struct Raw {
    stream: Stream,
    bytes: Vec<u8>,
    /// Frames that came before one that was waited for.
    stash: VecDeque<Got>,
    pub source: Source,
    pub sequence: u64,
    request: u64,
}

impl Raw {
    /// Connects, and says nothing.
    pub fn silent(path: &Path) -> Raw {
        Raw::over(connect(path).expect("the broker accepts"))
    }

    fn over(stream: Stream) -> Raw {
        Raw {
            stream,
            bytes: Vec::new(),
            stash: VecDeque::new(),
            source: Source::NONE,
            sequence: 0,
            request: 0,
        }
    }

    /// Asks for the process id of the broker that answers, if one does.
    pub fn pid_of(path: &Path) -> Option<u32> {
        let stream = connect(path).ok()?;
        let mut raw = Raw::over(stream);
        raw.try_send(&hello_frame(b"probe", &Hello::default().encode()));
        raw.source = raw.next()?.source;
        raw.try_send(&raw.encode(Kind::Stats, 1, b"", b""));
        let status: Status = serde_json::from_slice(&raw.next()?.payload).ok()?;
        Some(status.pid)
    }

    /// Connects and is welcomed to the default channel.
    pub fn welcomed(path: &Path, hello: &Hello) -> (Raw, Welcome) {
        Raw::on_channel(path, "default", hello)
    }

    /// Connects and is welcomed to a channel.
    pub fn on_channel(path: &Path, channel: &str, hello: &Hello) -> (Raw, Welcome) {
        let mut raw = Raw::silent(path);
        raw.send(&hello_frame(channel.as_bytes(), &hello.encode()));
        let welcome = raw.frame();
        assert_eq!(welcome.kind, Kind::Welcome, "{:?}", welcome);
        raw.source = welcome.source;
        (raw, Welcome::decode(&welcome.payload).expect("a welcome"))
    }

    /// Writes bytes unchanged; the broker must take them.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the broker takes bytes");
    }

    /// Writes bytes unchanged; returns whether the broker took them all.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Writes as much as the socket takes now; returns how much, which is nothing once
    /// the broker has hung up.
    pub fn send_some(&mut self, bytes: &[u8]) -> usize {
        self.stream.write_some(bytes).unwrap_or(0)
    }

    /// Makes another handle to write with, while this one reads on another thread.
    pub fn writer(&self) -> Raw {
        Raw {
            stream: self.stream.another().expect("a descriptor is free"),
            bytes: Vec::new(),
            stash: VecDeque::new(),
            source: self.source,
            sequence: self.sequence,
            request: self.request,
        }
    }

    /// Returns the bytes of a frame of this client.
    pub fn encode(&self, kind: Kind, sequence: u64, name: &[u8], payload: &[u8]) -> Vec<u8> {
        encode(kind, self.source, sequence, name, payload)
    }

    /// Returns the bytes of this client's next event.
    pub fn event(&mut self, name: &str, payload: &[u8]) -> Vec<u8> {
        self.sequence += 1;
        self.encode(Kind::Event, self.sequence, name.as_bytes(), payload)
    }

    pub fn emit(&mut self, name: &str, payload: &[u8]) {
        let event = self.event(name, payload);
        self.send(&event);
    }

    /// Sends a request and returns its number.
    pub fn ask(&mut self, kind: Kind, name: &[u8]) -> u64 {
        self.request += 1;
        let frame = self.encode(kind, self.request, name, b"");
        self.send(&frame);
        self.request
    }

    /// Listens to a pattern; returns once the subscription is in force.
    pub fn listen(&mut self, pattern: &str) {
        let request = self.ask(Kind::Subscribe, pattern.as_bytes());
        self.wait_for(Kind::Ack, request);
    }

    pub fn stop_listening(&mut self, pattern: &str) {
        let request = self.ask(Kind::Unsubscribe, pattern.as_bytes());
        self.wait_for(Kind::Ack, request);
    }

    /// Waits until all earlier events are queued; returns the confirmed sequence.
    pub fn ping(&mut self) -> u64 {
        let token = self.ask(Kind::Ping, b"");
        let pong = self.wait_for(Kind::Pong, token);
        decode_pong(&pong.payload).expect("a pong confirms")
    }

    pub fn status(&mut self) -> Status {
        let request = self.ask(Kind::Stats, b"");
        let answer = self.wait_for(Kind::Stats, request);
        serde_json::from_slice(&answer.payload).expect("a status is JSON")
    }

    /// Takes the next frame, `None` at the end of the stream.
    pub fn next(&mut self) -> Option<Got> {
        self.stash.pop_front().or_else(|| self.read())
    }

    /// Takes the next frame; there must be one.
    pub fn frame(&mut self) -> Got {
        self.next().expect("the broker goes on")
    }

    /// Takes the next event; nothing else may come before.
    pub fn event_got(&mut self) -> Got {
        let got = self.frame();
        assert_eq!(got.kind, Kind::Event, "{got:?}");
        got
    }

    /// Waits for an answer and keeps the frames that come before it.
    pub fn wait_for(&mut self, kind: Kind, sequence: u64) -> Got {
        loop {
            let got = self.read().unwrap_or_else(|| panic!("the end came before a {kind:?}"));
            if got.kind == kind && got.sequence == sequence {
                return got;
            }
            assert!(got.kind != Kind::Error, "{:?} instead of {kind:?}", got.error());
            self.stash.push_back(got);
        }
    }

    /// Takes the error that ends this connection, with the end behind it. Events before
    /// the error are dropped.
    pub fn last_error(&mut self) -> (ErrorCode, String) {
        loop {
            let got = self.next().expect("a reason comes before the end");
            if got.kind == Kind::Error {
                assert_eq!(self.next(), None, "the broker closes behind a fatal error");
                return got.error();
            }
        }
    }

    /// Takes the frames that were received before a request and not taken yet.
    pub fn stashed(&mut self) -> Vec<Got> {
        self.stash.drain(..).collect()
    }

    /// Ends the direction of writing.
    pub fn shut_write(&self) {
        self.stream.shut_write().expect("it is connected");
    }

    fn read(&mut self) -> Option<Got> {
        loop {
            if let Some(got) = self.parse() {
                return Some(got);
            }
            let mut room = vec![0; READ_BYTES];
            match self.stream.read(&mut room) {
                // Bytes that the broker has not read turn the end into a reset.
                Ok(0) => return self.ended(),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return self.ended(),
                Ok(bytes) => self.bytes.extend_from_slice(&room[..bytes]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("nothing came within {PATIENCE:?}: {error}"),
            }
        }
    }

    fn ended(&self) -> Option<Got> {
        assert!(self.bytes.is_empty(), "the broker stopped in the middle of a frame");
        None
    }

    fn parse(&mut self) -> Option<Got> {
        let frame = Frame::read(&self.bytes, HARD_MAX_PAYLOAD_BYTES).expect("a right frame")?;
        let got = Got {
            kind: frame.kind(),
            source: frame.source(),
            sequence: frame.sequence(),
            name: String::from_utf8(frame.name().to_vec()).expect("a right name"),
            payload: frame.payload().to_vec(),
        };
        let length = frame.as_bytes().len();
        self.bytes.drain(..length);
        Some(got)
    }
}

fn connect(path: &Path) -> io::Result<Stream> {
    Stream::connect(path, PATIENCE)
}

/// Returns a hello of any content.
pub fn hello_frame(channel: &[u8], payload: &[u8]) -> Vec<u8> {
    encode(Kind::Hello, Source::NONE, 0, channel, payload)
}
