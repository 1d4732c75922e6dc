//! Brokers under a supervisor: when they are ready, when they stop, and their end with the
//! process that started them.

mod support;

use std::path::Path;

use support::{Directory, Process, Signal, backends, command, has_signals, is_unix};

/// Time in which the service manager wants to hear of the broker.
#[cfg(target_os = "linux")]
const WATCHDOG_PERIOD: std::time::Duration = std::time::Duration::from_millis(400);

/// Python that listens, and has two brokers after one another accept there, as a service
/// manager does: with the socket as descriptor 3.
#[cfg(target_os = "linux")]
const ACTIVATE: &str = "
import os, socket, subprocess, sys
listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
listener.bind(sys.argv[1])
listener.listen(64)
os.dup2(listener.fileno(), 3)
serve = ['sh', '-c', 'LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"', 'sh'] + sys.argv[2:]
for start in range(2):
    sys.stdin.readline()
    code = subprocess.Popen(serve, pass_fds=[3]).wait()
    print('ended', code, file=sys.stderr, flush=True)
";

/// A command that serves at this socket.
fn serve(socket: &Path, backend: &str, options: &[&str]) -> std::process::Command {
    let mut command = command(["serve", "--backend", backend, "--socket"]);
    command.arg(socket).args(options);
    command
}

#[test]
fn one_line_of_json_says_that_clients_can_connect() {
    for backend in backends() {
        let directory = Directory::new();
        let socket = directory.socket("bus");
        let options = ["--print-ready", "--node-id", "beef"];
        let mut process = Process::start(serve(&socket, backend, &options));
        let line: serde_json::Value = serde_json::from_str(&process.line()).unwrap();
        let mut emit = command(["emit", "log", "x", "--socket"]);
        emit.arg(&socket);
        Process::start(emit).finish().succeeded();
        let expected = serde_json::json!({
            "ready": true,
            "pid": process.pid(),
            "socket": socket,
            "node": "0000beef",
            "version": env!("CARGO_PKG_VERSION"),
        });
        assert_eq!(line, expected, "{backend}");
    }
}

/// Also if nobody told it the number, and if its parent is killed.
#[test]
fn a_broker_ends_in_order_with_the_process_that_started_it() {
    if !is_unix("a shell starts the broker") || !has_signals() {
        return;
    }
    for backend in backends() {
        for flag in ["--die-with-parent", "--die-with-parent=$$"] {
            let directory = Directory::new();
            let socket = directory.socket("bus");
            let mut shell = std::process::Command::new("sh");
            // What follows keeps the shell: it is the parent.
            let script = format!("\"$0\" serve \"$@\" {flag}; true");
            shell.args(["-c", &script]).arg(command([""; 0]).get_program());
            shell.arg("--socket").arg(&socket).args(["--backend", backend]);
            let parent = Process::start(shell);
            parent.wait_for_notice("ready socket=");
            let mut on = command(["on", "log", "--socket"]);
            on.arg(&socket);
            let on = Process::start(on);
            on.wait_for_notice("listening to ");
            parent.signal(Signal::KILL);
            parent.wait_for_notice("has ended: shutting down");
            on.wait_for_notice("the broker shut down");
            support::wait_until("the socket is gone", || !socket.exists());
        }
    }
}

#[test]
fn a_broker_whose_parent_had_ended_before_it_began_ends_at_once() {
    if !is_unix("a parent's number means something") {
        return;
    }
    let directory = Directory::new();
    let other = (std::process::id() + 1).to_string();
    let flag = format!("--die-with-parent={other}");
    let process = Process::start(serve(&directory.socket("bus"), "auto", &[&flag]));
    let done = process.finish().succeeded();
    assert!(done.stderr.contains("the process that started this broker has ended"), "{done:?}");
}

#[test]
fn a_parent_is_a_process() {
    for parent in ["0", "-1", "x", ""] {
        let flag = format!("--die-with-parent={parent}");
        let serve = command(["serve", "--socket", support::NO_SOCKET, &flag]);
        Process::start(serve).finish().failed(2, "--die-with-parent");
    }
}

/// Datagrams as `Type=notify` of systemd wants them, at a path and at a name without a file.
#[cfg(unix)]
#[test]
fn the_service_manager_is_told_that_the_broker_is_ready_and_that_it_stops() {
    use std::os::unix::net::UnixDatagram;

    let directory = Directory::new();
    let path = directory.join("notify");
    let mut managers = vec![(path.clone().into_os_string(), UnixDatagram::bind(&path).unwrap())];
    #[cfg(target_os = "linux")]
    {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::net::SocketAddr;

        let name = format!("netcluster-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        managers.push((format!("@{name}").into(), socket));
    }
    for (number, (name, manager)) in managers.into_iter().enumerate() {
        manager.set_read_timeout(Some(support::PATIENCE)).unwrap();
        let mut told = [0; 100];
        let mut next = || {
            let bytes = support::uninterrupted(|| manager.recv(&mut told)).expect("a datagram");
            String::from_utf8_lossy(&told[..bytes]).into_owned()
        };
        for backend in backends() {
            let socket = directory.socket(&format!("bus{number}"));
            let mut command = serve(&socket, backend, &[]);
            command.env("NOTIFY_SOCKET", &name);
            let process = Process::start(command);
            assert_eq!(next(), "READY=1");
            assert!(socket.exists(), "it listens");
            process.signal(Signal::TERM);
            assert_eq!(next(), "STOPPING=1");
            process.finish().succeeded();
        }
    }
    // Nobody listens there: a warning, no failure.
    let mut command = serve(&directory.socket("other"), "auto", &[]);
    command.env("NOTIFY_SOCKET", directory.join("nobody"));
    let process = Process::start(command);
    process.wait_for_notice("the service manager is not told `READY=1`");
    process.wait_for_notice("ready socket=");
}

/// Clients that come while no broker runs wait for the next one: the socket stays.
#[cfg(target_os = "linux")]
#[test]
fn a_socket_of_the_service_manager_outlives_brokers() {
    use std::io::Write;

    let python = std::process::Command::new("python3").arg("--version").output();
    if !python.is_ok_and(|python| python.status.success()) {
        println!("SKIPPED: python3, which passes the socket, is not installed");
        return;
    }
    for backend in backends() {
        let directory = Directory::new();
        let socket = directory.socket("bus");
        let mut manager = std::process::Command::new("python3");
        manager.args(["-c", ACTIVATE]).arg(&socket);
        let serve = command(["serve", "--backend", backend]);
        manager.arg(serve.get_program()).args(serve.get_args());
        // Where it would listen by itself.
        manager.env("RUNTIME_DIRECTORY", directory.path()).env_remove("NETCLUSTER_SOCKET");
        let (manager, mut input) = Process::start_with_pipe(manager);
        support::wait_until("it listens", || socket.exists());
        let pid_of = |status: &str| -> u32 {
            let status: serde_json::Value = serde_json::from_str(status).unwrap();
            status["pid"].as_u64().unwrap() as u32
        };
        let mut pids = Vec::new();
        for start in 0..2 {
            let mut status = command(["status", "--json", "--socket"]);
            status.arg(&socket);
            let status = Process::start(status);
            // It may have connected by now or not: either way it is answered.
            input.write_all(b"start\n").unwrap();
            let pid = pid_of(&status.finish().succeeded().stdout);
            pids.push(pid);
            manager.wait_for_notice("which the service manager passed");
            let ended = std::process::Command::new("kill").arg(pid.to_string()).status().unwrap();
            assert!(ended.success(), "{backend}: {start}");
            let ends = "ended 0\n".repeat(start + 1);
            support::wait_until("it ends", || {
                let notices = manager.notices();
                let told: String = notices
                    .lines()
                    .filter(|line| line.starts_with("ended"))
                    .map(|line| format!("{line}\n"))
                    .collect();
                told == ends
            });
            assert!(socket.exists(), "{backend}: it is the manager's to remove");
        }
        assert_ne!(pids[0], pids[1]);
        manager.finish().succeeded();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn several_sockets_are_refused() {
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "LISTEN_PID=$$ LISTEN_FDS=2 exec \"$0\" serve"]);
    shell.arg(command([""; 0]).get_program());
    Process::start(shell).finish().failed(2, "passed \"2\" sockets, not one");
}

/// A thread of a process, stopped while this lives: as one that hangs.
#[cfg(target_os = "linux")]
struct Stopped(libc::pid_t);

#[cfg(target_os = "linux")]
impl Stopped {
    /// Stops the thread of this name; `None`, with the reason printed, if that is forbidden.
    fn stop(pid: u32, name: &str) -> Option<Stopped> {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let thread = threads.map(|thread| thread.unwrap()).find(|thread| {
            std::fs::read_to_string(thread.path().join("comm")).unwrap().trim() == name
        });
        let thread: libc::pid_t = thread.unwrap().file_name().to_str().unwrap().parse().unwrap();
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: a child of this process; nothing of this process's memory is touched.
        if unsafe { libc::ptrace(libc::PTRACE_SEIZE, thread, none, none) } != 0 {
            println!("SKIPPED: a thread cannot be stopped: {}", std::io::Error::last_os_error());
            return None;
        }
        // SAFETY: as above; the status is valid for writing.
        unsafe {
            assert_eq!(libc::ptrace(libc::PTRACE_INTERRUPT, thread, none, none), 0);
            let mut status = 0;
            assert_eq!(libc::waitpid(thread, &mut status, libc::__WALL), thread);
        }
        Some(Stopped(thread))
    }
}

#[cfg(target_os = "linux")]
impl Drop for Stopped {
    fn drop(&mut self) {
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: as above; this thread is the tracer.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, self.0, none, none) };
    }
}

/// The service manager hears of the broker as long as all shards turn, and no longer.
#[cfg(target_os = "linux")]
#[test]
fn a_shard_that_hangs_ends_the_watchdogs_pings() {
    use std::os::unix::net::UnixDatagram;
    use std::time::Duration;

    for backend in backends() {
        let directory = Directory::new();
        let path = directory.join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let next = |timeout| {
            manager.set_read_timeout(Some(timeout)).unwrap();
            let mut told = [0; 100];
            let bytes = support::uninterrupted(|| manager.recv(&mut told)).ok()?;
            Some(String::from_utf8_lossy(&told[..bytes]).into_owned())
        };
        let mut serve = serve(&directory.socket("bus"), backend, &["--shards", "2"]);
        serve.env("NOTIFY_SOCKET", &path);
        serve.env("WATCHDOG_USEC", WATCHDOG_PERIOD.as_micros().to_string());
        let process = Process::start(serve);
        assert_eq!(next(support::PATIENCE).unwrap(), "READY=1");
        for _ in 0..3 {
            assert_eq!(next(support::PATIENCE).unwrap(), "WATCHDOG=1", "{backend}");
        }
        let Some(stopped) = Stopped::stop(process.pid(), "shard-1") else { return };
        process.wait_for_notice("shards [1] have not ended a turn");
        // What was told before.
        while next(Duration::from_millis(1)).is_some() {}
        assert_eq!(next(3 * WATCHDOG_PERIOD), None, "{backend}");
        drop(stopped);
        assert_eq!(next(support::PATIENCE).unwrap(), "WATCHDOG=1", "{backend}");
        process.signal(Signal::TERM);
        process.finish().succeeded();
    }
}
