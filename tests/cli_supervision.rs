//! Brokers under a supervisor: when they are ready, when they stop, and their end with the
//! process that started them.

mod support;

use std::path::Path;

use support::{Directory, Process, Signal, backends, command, has_signals, is_unix};

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
            loop {
                match manager.recv(&mut told) {
                    Ok(bytes) => return String::from_utf8_lossy(&told[..bytes]).into_owned(),
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(error) => panic!("a datagram: {error}"),
                }
            }
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
