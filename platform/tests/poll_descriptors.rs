//! The readiness back end and the limit of open descriptors: a process of its
//! own, since both belong to the process.

#![cfg(target_os = "linux")]

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use netcluster_platform::{
    BindOptions, Completion, Conn, Io, LocalListener, PollConfig, PollIo, ReceiveEnd,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn wait(io: &mut PollIo) -> Vec<Completion> {
    let mut completions = Vec::new();
    io.wait(&mut completions, Some(Duration::from_secs(20))).unwrap();
    assert!(!completions.is_empty(), "it never came");
    completions
}

fn accepted(io: &mut PollIo) -> Conn {
    let completions = wait(io);
    let [Completion::Accepted { conn, .. }] = completions[..] else { panic!("{completions:?}") };
    conn
}

fn close(io: &mut PollIo, conn: Conn) {
    io.close(conn);
    let completions = wait(io);
    assert!(matches!(completions[..], [Completion::Closed { .. }]), "{completions:?}");
}

#[test]
fn descriptors_do_not_leak_and_running_out_of_them_pauses_accepting() {
    let directory =
        std::env::temp_dir().join(format!("netcluster-descriptors-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("socket");
    let mut io = PollIo::new(PollConfig::default()).unwrap();
    io.accept(LocalListener::bind(&path, &BindOptions::default()).unwrap()).unwrap();

    connect_and_close_many(&mut io, &path);
    run_out_and_recover(&mut io, &path);

    drop(io);
    std::fs::remove_dir_all(&directory).unwrap();
}

fn connect_and_close_many(io: &mut PollIo, path: &Path) {
    let before = open_descriptors();
    for turn in 0..2000 {
        let client = UnixStream::connect(path).unwrap();
        let conn = accepted(io);
        assert_eq!(conn, Conn(0));
        io.receive(conn);
        if turn % 2 == 0 {
            drop(client);
            let completions = wait(io);
            let [Completion::ReceiveEnded { end: ReceiveEnd::Eof, .. }] = completions[..] else {
                panic!("{completions:?}");
            };
        }
        close(io, conn);
    }
    assert_eq!(open_descriptors(), before);
}

fn run_out_and_recover(io: &mut PollIo, path: &Path) {
    let limit = getrlimit(Resource::Nofile);
    let first = UnixStream::connect(path).unwrap();
    let conn = accepted(io);
    let second = UnixStream::connect(path).unwrap();
    let lowered = Rlimit { current: Some(open_descriptors() as u64 + 20), ..limit };
    setrlimit(Resource::Nofile, lowered).unwrap();
    let hoard: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    let completions = wait(io);
    let [Completion::AcceptPaused { error }] = &completions[..] else { panic!("{completions:?}") };
    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::MFILE.raw_os_error()));
    let mut completions = Vec::new();
    io.wait(&mut completions, Some(Duration::ZERO)).unwrap();
    assert!(completions.is_empty(), "it stays paused: {completions:?}");

    drop(hoard);
    close(io, conn);
    io.resume_accept();
    accepted(io);
    setrlimit(Resource::Nofile, limit).unwrap();
    drop((first, second));
}
