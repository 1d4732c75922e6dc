//! Local socket with a stand-in for a broker behind it.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

use super::support::{self, Directory, Process, command};
use netcluster::status::Status;
use netcluster_wire::control::encode_error;
use netcluster_wire::{ErrorCode, Header, Kind, Source, Welcome, frame};

const CLIENT: Source = Source { node: 1, client: 1 };

/// Starts a command against a server that treats its one client as `serve` does, which
/// also gets the command's process.
fn run_against(arguments: &[&str], serve: impl FnOnce(&mut UnixStream, &Process)) -> support::Done {
    let directory = Directory::new();
    let socket = directory.join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    let process = Process::start(to(&socket, arguments));
    let (mut stream, _) = listener.accept().unwrap();
    serve(&mut stream, &process);
    // Open until the client goes.
    let reader = thread::spawn(move || std::io::copy(&mut stream, &mut std::io::sink()));
    let done = process.finish();
    let _ = reader.join().unwrap();
    done
}

fn to(socket: &Path, arguments: &[&str]) -> std::process::Command {
    let mut command = command(arguments);
    command.arg("--socket").arg(socket);
    command
}

/// Reads a frame; returns its kind and sequence.
fn read_frame(stream: &mut UnixStream) -> (u8, u64) {
    let mut head = [0; 24];
    stream.read_exact(&mut head).unwrap();
    let header = Header::read(&head).unwrap();
    let mut rest = vec![0; header.length.get() as usize - head.len()];
    stream.read_exact(&mut rest).unwrap();
    (header.kind, header.sequence.get())
}

fn error(code: ErrorCode, text: &str) -> Vec<u8> {
    frame::encode(Kind::Error, CLIENT, 0, b"", &encode_error(code, text))
}

#[test]
fn a_program_that_is_no_broker_is_recognised() {
    let commands: [&[&str]; 3] = [&["emit", "log", "x"], &["on", "log"], &["status"]];
    for arguments in commands {
        let done = run_against(arguments, |stream, _| {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").unwrap();
        });
        done.failed(3, "is it a netcluster broker?");
    }
}

#[test]
fn a_broker_that_refuses_is_quoted() {
    let done = run_against(&["emit", "log", "x"], |stream, _| {
        read_frame(stream);
        stream.write_all(&error(ErrorCode::Busy, "65536 clients are enough")).unwrap();
    });
    done.failed(3, "65536 clients are enough");
}

#[test]
fn a_listener_that_is_sent_away_for_good_ends() {
    let done = run_against(&["on", "log"], |stream, on| {
        read_frame(stream);
        let welcome = Welcome { max_payload: 1 << 20, run: 1, ..Welcome::default() };
        let welcome = frame::encode(Kind::Welcome, CLIENT, 0, b"", &welcome.encode());
        stream.write_all(&welcome).unwrap();
        let (kind, request) = read_frame(stream);
        assert_eq!(Kind::from_byte(kind), Some(Kind::Subscribe));
        stream.write_all(&frame::encode(Kind::Ack, CLIENT, request, b"", b"")).unwrap();
        on.wait_for_notice("listening to ");
        stream.write_all(&error(ErrorCode::Name, "go away")).unwrap();
    });
    let done = done.failed(3, "go away");
    assert!(done.stderr.contains("connecting again makes no sense"), "{done:?}");
}

/// Sends a welcome, reads the client's request and answers it.
fn open_and_say(stream: &mut UnixStream, answer: impl FnOnce(u64) -> Vec<u8>) {
    read_frame(stream);
    let welcome = Welcome { max_payload: u64::MAX, run: 1, ..Welcome::default() };
    let welcome = frame::encode(Kind::Welcome, CLIENT, 0, b"", &welcome.encode());
    stream.write_all(&welcome).unwrap();
    let (_, request) = read_frame(stream);
    // The client may hang up at once.
    let _ = stream.write_all(&answer(request));
}

#[test]
fn a_brokers_words_do_nothing_to_a_terminal() {
    let evil = "\u{9b}2J\x1b]0;owned\x07\u{202e}";
    let done = run_against(&["emit", "log", "x"], move |stream, _| {
        read_frame(stream);
        stream.write_all(&error(ErrorCode::Busy, evil)).unwrap();
    });
    assert!(done.stderr.contains("\\u{9b}2J\\u{1b}]0;owned\\u{7}\\u{202e}"), "{done:?}");

    let mut status = Status::default();
    status.version = evil.into();
    let json = serde_json::to_vec(&status).unwrap();
    for arguments in [&["status"][..], &["status", "--json"]] {
        let json = json.clone();
        let done = run_against(arguments, move |stream, _| {
            open_and_say(stream, |request| frame::encode(Kind::Stats, CLIENT, request, b"", &json));
        });
        let done = done.succeeded();
        let is_harmless = |c| c == '\n' || matches!(c, ' '..='~');
        assert!(done.stdout.chars().all(is_harmless), "{:?}", done.stdout);
        assert!(done.stdout.contains("owned"), "{:?}", done.stdout);
    }
}

/// The header of the answer alone made `status` take 2.2 GB.
#[test]
fn a_status_of_a_gigabyte_is_refused_before_it_comes() {
    let done = run_against(&["status"], |stream, _| {
        open_and_say(stream, |request| {
            let mut head = Vec::new();
            frame::append_head(&mut head, Kind::Stats, CLIENT, request, b"", 1 << 30);
            head
        });
        // Had the client waited for more, nothing would come.
        let _ = stream.read(&mut [0; 64]);
    });
    done.failed(3, "broke the protocol");
}
