use std::os::windows::io::FromRawHandle;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use windows_sys::Win32::Foundation::INVALID_HANDLE_VALUE;
use windows_sys::Win32::Storage::FileSystem::PIPE_ACCESS_DUPLEX;
use windows_sys::Win32::System::Pipes::{CreateNamedPipeW, PIPE_TYPE_BYTE};

use super::*;

const QUOTA_BYTES: u32 = 4096;
const PATIENCE: Duration = Duration::from_secs(20);

fn fresh_name() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    PathBuf::from(format!(r"\\.\pipe\netcluster-pipe-{}-{number}", std::process::id()))
}

/// An instance that takes whoever connects.
fn instance(name: &Path) -> OwnedHandle {
    use std::os::windows::ffi::OsStrExt;
    let wide: Vec<u16> = name.as_os_str().encode_wide().chain([0]).collect();
    let access = PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED;
    // SAFETY: the name is there and ends with a zero.
    let handle = unsafe {
        CreateNamedPipeW(
            wide.as_ptr(),
            access,
            PIPE_TYPE_BYTE,
            255,
            QUOTA_BYTES,
            QUOTA_BYTES,
            0,
            std::ptr::null(),
        )
    };
    assert_ne!(handle, INVALID_HANDLE_VALUE, "{}", io::Error::last_os_error());
    // SAFETY: it was just made, and nobody else has it.
    unsafe { OwnedHandle::from_raw_handle(handle) }
}

fn pair() -> (Pipe, Pipe) {
    let name = fresh_name();
    let server = instance(&name);
    let client = Pipe::connect(&name, PATIENCE).unwrap();
    (Pipe::new(server).unwrap(), client)
}

fn read_exactly(pipe: &Pipe, bytes: usize) -> Vec<u8> {
    let mut all = vec![0; bytes];
    let mut at = 0;
    while at < bytes {
        let read = pipe.read(&mut all[at..], Some(PATIENCE)).unwrap();
        assert_ne!(read, 0, "the end after {at} of {bytes} bytes");
        at += read;
    }
    all
}

fn write_all(pipe: &Pipe, bytes: &[u8]) {
    let mut at = 0;
    while at < bytes.len() {
        at += pipe.write(&[IoSlice::new(&bytes[at..])], true).unwrap();
    }
}

#[test]
fn both_ends_write_flat_out_at_the_same_time() {
    const BYTES: usize = 4 << 20;
    let (server, client) = pair();
    let pattern: Vec<u8> = (0..BYTES).map(|at| (at % 251) as u8).collect();
    thread::scope(|scope| {
        for pipe in [&server, &client] {
            scope.spawn(|| write_all(pipe, &pattern));
            scope.spawn(|| assert!(read_exactly(pipe, BYTES) == pattern));
        }
    });
}

#[test]
fn parts_are_written_one_behind_the_other() {
    let (server, client) = pair();
    let parts = [&b"head"[..], b"", b"body", b"tail"].map(IoSlice::new);
    assert_eq!(client.write(&parts, true).unwrap(), 12);
    assert_eq!(read_exactly(&server, 12), b"headbodytail");
}

#[test]
fn who_must_not_wait_leaves_one_piece_under_way_and_is_then_told_that_there_is_no_room() {
    let (server, client) = pair();
    let bytes = vec![7; 3 * GATHER_BYTES];
    let taken = client.write(&[IoSlice::new(&bytes)], false).unwrap();
    assert_eq!(taken, GATHER_BYTES);
    assert_eq!(client.write(&[IoSlice::new(&bytes)], false).unwrap(), 0);
    assert!(!client.settle(Duration::ZERO).unwrap());
    assert_eq!(read_exactly(&server, taken), &bytes[..taken]);
    assert!(client.settle(PATIENCE).unwrap());
    assert_eq!(client.write(&[IoSlice::new(b"more")], false).unwrap(), 4);
    assert_eq!(read_exactly(&server, 4), b"more");
}

#[test]
fn a_read_ends_at_its_deadline_and_loses_nothing() {
    let (server, client) = pair();
    let error = client.read(&mut [0; 8], Some(Duration::from_millis(1))).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    write_all(&server, b"late");
    assert_eq!(read_exactly(&client, 4), b"late");
}

#[test]
fn shutting_down_ends_a_read_and_a_write_that_wait_and_the_other_end_sees_it() {
    let (server, client) = pair();
    let bytes = vec![0; 1 << 20];
    thread::scope(|scope| {
        let reading = scope.spawn(|| client.read(&mut [0; 8], None));
        let writing = scope.spawn(|| client.write(&[IoSlice::new(&bytes)], true));
        // The write is under way as soon as something of it has come.
        assert_ne!(server.read(&mut [0; 8], Some(PATIENCE)).unwrap(), 0);
        client.shut_down();
        assert_eq!(reading.join().unwrap().unwrap(), 0);
        assert!(writing.join().unwrap().is_err());
    });
    assert_eq!(client.read(&mut [0; 8], None).unwrap(), 0);
    assert!(client.write(&[IoSlice::new(b"x")], true).is_err());
    let mut rest = vec![0; 1 << 20];
    while server.read(&mut rest, Some(PATIENCE)).unwrap() != 0 {}
}

#[test]
fn what_was_written_is_read_although_its_writer_is_gone() {
    let (server, client) = pair();
    assert_eq!(client.write(&[IoSlice::new(b"last words")], false).unwrap(), 10);
    drop(client);
    assert_eq!(read_exactly(&server, 10), b"last words");
    assert_eq!(server.read(&mut [0; 8], Some(PATIENCE)).unwrap(), 0);
}

#[test]
fn a_connect_waits_for_a_free_instance_and_not_for_ever() {
    let name = fresh_name();
    let first = Pipe::new(instance(&name)).unwrap();
    let _client = Pipe::connect(&name, PATIENCE).unwrap();
    let refused = Pipe::connect(&name, Duration::from_millis(20)).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| Pipe::connect(&name, PATIENCE));
        let second = Pipe::new(instance(&name)).unwrap();
        let client = waiting.join().unwrap().unwrap();
        write_all(&second, b"hello");
        assert_eq!(read_exactly(&client, 5), b"hello");
    });
    drop(first);
    let missing = Pipe::connect(&fresh_name(), PATIENCE).unwrap_err();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
}
