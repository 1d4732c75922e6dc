use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;

use super::*;

/// A directory of its own for one test, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let directory =
            std::env::temp_dir().join(format!("netcluster-local-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir(&directory).unwrap();
        Scratch(directory)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("broker.sock")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn bind(path: &Path) -> Result<LocalListener, BindError> {
    LocalListener::bind(path, &BindOptions::default())
}

#[test]
fn a_listener_is_connectable_and_gone_when_dropped() {
    let scratch = Scratch::new("bind");
    let path = scratch.socket();
    let listener = bind(&path).unwrap();
    assert_eq!(mode(&path), 0o660);
    let socket = connect(&path).unwrap();
    assert_eq!(socket.peer().uid, rustix::process::getuid().as_raw());
    assert_eq!(listener.path(), path);
    drop(listener);
    assert!(!path.exists());
    bind(&path).unwrap();
}

#[test]
fn a_second_broker_is_refused_and_the_first_undisturbed() {
    let scratch = Scratch::new("second");
    let path = scratch.socket();
    let _first = bind(&path).unwrap();
    let me = Some(std::process::id());
    assert!(matches!(bind(&path), Err(BindError::InUse { pid, .. }) if pid == me));
    assert_eq!(listening_pid(&path), me);
    connect(&path).unwrap();
}

#[test]
fn a_listener_without_a_lock_is_found_by_connecting() {
    let scratch = Scratch::new("foreign");
    let path = scratch.socket();
    let _foreign = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert!(matches!(bind(&path), Err(BindError::InUse { .. })));
    connect(&path).unwrap();
}

#[test]
fn a_stale_socket_is_reclaimed() {
    let scratch = Scratch::new("stale");
    let path = scratch.socket();
    // Dropping a plain listener leaves its file, as a killed broker does.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(std::fs::metadata(&path).unwrap().file_type().is_socket());
    let _listener = bind(&path).unwrap();
    connect(&path).unwrap();
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let scratch = Scratch::new("file");
    let path = scratch.socket();
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(bind(&path), Err(BindError::NotASocket { .. })));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_refused_path_is_left_without_a_lock_file() {
    let scratch = Scratch::new("refused");
    let file = scratch.0.join("file");
    std::fs::write(&file, "").unwrap();
    let directory = scratch.0.join("directory");
    std::fs::create_dir(&directory).unwrap();
    let link = scratch.0.join("link");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    for path in [&file, &directory, &directory.join(""), &link] {
        assert!(matches!(bind(path), Err(BindError::NotASocket { .. })), "{path:?}");
    }
    let names = |directory: &Path| {
        let entries = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&scratch.0), ["directory", "file", "link"]);
    assert!(names(&directory).is_empty());
}

#[test]
fn a_successors_socket_is_not_removed() {
    let scratch = Scratch::new("successor");
    let path = scratch.socket();
    let listener = bind(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    drop(listener);
    assert!(path.exists());
}

#[test]
fn a_missing_directory_is_made_one_level_deep_on_request() {
    let scratch = Scratch::new("parent");
    let options = BindOptions { create_parent: true, ..BindOptions::default() };
    let path = scratch.0.join("netcluster/broker.sock");
    assert!(matches!(bind(&path), Err(BindError::MissingDirectory { .. })));
    let _listener = LocalListener::bind(&path, &options).unwrap();
    // Whatever the process's mask is: the socket's permissions decide.
    assert_eq!(mode(&scratch.0.join("netcluster")), 0o755);
    let deep = scratch.0.join("a/b/broker.sock");
    assert!(matches!(
        LocalListener::bind(&deep, &options),
        Err(BindError::MissingDirectory { .. })
    ));
}

/// Tells what binding in `directory` says when the directory might have to be made.
fn flaw(directory: &Path) -> Option<String> {
    let options = BindOptions { create_parent: true, ..BindOptions::default() };
    match LocalListener::bind(&directory.join("default.sock"), &options) {
        Ok(_) => None,
        Err(error @ BindError::UntrustedDirectory { .. }) => {
            let text = error.to_string();
            assert!(text.contains("--socket") && text.contains("remove it"), "{text}");
            Some(text)
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn where_anybody_may_create_it_a_directory_of_others_is_refused() {
    let scratch = Scratch::new("trust");
    set_mode(&scratch.0, 0o1777);
    let directory = scratch.0.join("netcluster");
    assert_eq!(flaw(&directory), None, "made");
    assert_eq!(flaw(&directory), None, "made before");
    for bits in [0o775, 0o757, 0o1777] {
        set_mode(&directory, bits);
        assert!(flaw(&directory).unwrap().contains("chmod go-w"), "{bits:o}");
    }
    set_mode(&directory, 0o700);
    assert_eq!(flaw(&directory), None);
    for (name, target) in [("link", "netcluster"), ("dangling", "nowhere")] {
        let link = scratch.0.join(name);
        std::os::unix::fs::symlink(target, &link).unwrap();
        assert!(flaw(&link).unwrap().contains("symbolic link"), "{name}");
    }
    assert!(!scratch.0.join("nowhere").exists());
    // Who chooses a path knows what is there.
    bind(&scratch.0.join("link/default.sock")).unwrap();
    if std::os::unix::fs::chown(&directory, Some(65534), None).is_err() {
        println!("SKIPPED: only root can give a directory to somebody else");
        return;
    }
    assert!(flaw(&directory).unwrap().contains("user 65534"));
}

#[test]
fn where_only_its_maker_could_create_it_a_directory_may_be_anybodys() {
    let scratch = Scratch::new("packaged");
    set_mode(&scratch.0, 0o755);
    let directory = scratch.0.join("netcluster");
    std::fs::create_dir(&directory).unwrap();
    set_mode(&directory, 0o2775);
    assert_eq!(flaw(&directory), None);
    // Only root may; for others it stays their own.
    let _ = std::os::unix::fs::chown(&directory, Some(65534), Some(65534));
    assert_eq!(flaw(&directory), None);
    std::os::unix::fs::symlink("netcluster", scratch.0.join("link")).unwrap();
    assert_eq!(flaw(&scratch.0.join("link")), None);
}

#[test]
fn unusable_paths_and_groups_are_explained() {
    let long = PathBuf::from(format!("/tmp/{}", "x".repeat(MAX_PATH_BYTES)));
    let error = bind(&long).unwrap_err();
    assert!(matches!(error, BindError::PathTooLong { .. }));
    assert!(error.to_string().contains("107"), "{error}");
    assert!(matches!(bind(Path::new("/")), Err(BindError::PathInvalid { .. })));
    let options = BindOptions {
        group: Some(Group::Name("no-such-group-here".to_owned())),
        ..BindOptions::default()
    };
    let error = LocalListener::bind(Path::new("/tmp/x.sock"), &options).unwrap_err();
    assert!(matches!(error, BindError::UnknownGroup { .. }), "{error}");
}

#[test]
fn a_socket_can_be_given_to_a_group() {
    let scratch = Scratch::new("group");
    let own = rustix::process::getgid().as_raw();
    let options = BindOptions { group: Some(Group::Id(own)), ..BindOptions::default() };
    let _listener = LocalListener::bind(&scratch.socket(), &options).unwrap();
    assert_eq!(users::group_id(&Group::Name("root".to_owned())).unwrap(), 0);
}

#[test]
fn the_descriptor_limit_rises_to_the_hard_one() {
    let limit = raise_descriptor_limit().unwrap();
    let hard = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    assert_eq!(limit, hard.unwrap_or(u64::MAX));
}

/// What broke: a client outside of the broker's PID namespace has no number in it, and
/// with that its user and group were lost as well.
#[cfg(target_os = "linux")]
#[test]
fn a_peer_of_another_pid_namespace_keeps_its_user_and_group() {
    let scratch = Scratch::new("namespace");
    let child = std::process::Command::new("unshare")
        .args(["--pid", "--fork"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "local::unix::tests::a_listener_elsewhere_tells_its_peer"])
        .args(["--ignored", "--nocapture"])
        .env("NETCLUSTER_TEST_SOCKET", scratch.socket())
        .stdout(std::process::Stdio::piped())
        .spawn();
    let Ok(mut child) = child else { return println!("SKIPPED: unshare is not installed") };
    let client = loop {
        if let Ok(client) = connect(&scratch.socket()) {
            break client;
        }
        if child.try_wait().unwrap().is_some() {
            return println!("SKIPPED: PID namespaces cannot be made here");
        }
        std::thread::yield_now();
    };
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let expected = format!("peer: pid 0 uid {uid} gid {gid}");
    assert!(output.status.success() && text.contains(&expected), "{text}");
    drop(client);
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "what a child in a namespace does, for the test above"]
fn a_listener_elsewhere_tells_its_peer() {
    let path = std::env::var_os("NETCLUSTER_TEST_SOCKET").expect("it is given one");
    let listener = bind(Path::new(&path)).unwrap();
    let peer = listener.accept().unwrap().peer();
    println!("peer: pid {} uid {} gid {}", peer.pid, peer.uid, peer.gid);
}

/// What broke: the permissions were set by the path, which may lead elsewhere by then.
#[test]
fn nothing_is_done_to_what_was_put_in_the_sockets_place() {
    let scratch = Scratch::new("replaced");
    let victim = scratch.0.join("victim");
    std::fs::write(&victim, "precious").unwrap();
    set_mode(&victim, 0o600);
    let (path, own) = (scratch.socket(), scratch.0.join("own"));
    let place = Place::open(&path).unwrap();
    let socket = || drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    socket();
    std::fs::rename(&path, &own).unwrap();
    std::os::unix::fs::symlink(&victim, &path).unwrap();
    assert!(matches!(place.own_socket(), Err(BindError::Replaced { .. })), "a link");
    std::fs::remove_file(&path).unwrap();
    std::fs::hard_link(&own, &path).unwrap();
    assert!(matches!(place.own_socket(), Err(BindError::Replaced { .. })), "two names");
    // Once it was found, only it is changed.
    std::fs::remove_file(&own).unwrap();
    let found = place.own_socket().unwrap();
    std::fs::rename(&path, &own).unwrap();
    std::os::unix::fs::symlink(&victim, &path).unwrap();
    place.adjust(&found, 0o622, Some(rustix::process::getegid().as_raw())).unwrap();
    assert_eq!((mode(&victim), mode(&own)), (0o600, 0o622));
    place.remove_own(found.identity());
    assert!(path.is_symlink(), "it is another file");
}

#[test]
fn the_directory_may_move_and_another_come_in_its_place() {
    let scratch = Scratch::new("moved");
    let (directory, moved) = (scratch.0.join("a"), scratch.0.join("b"));
    std::fs::create_dir(&directory).unwrap();
    let path = directory.join("broker.sock");
    let listener = bind(&path).unwrap();
    std::fs::rename(&directory, &moved).unwrap();
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(&path, "precious").unwrap();
    drop(listener);
    assert!(path.exists() && !moved.join("broker.sock").exists());
}

#[test]
fn permissions_are_as_asked_for_whatever_the_mask() {
    let scratch = Scratch::new("mask");
    for bits in [0o600, 0o660, 0o666, 0o777] {
        let path = scratch.0.join(format!("{bits:o}.sock"));
        let options = BindOptions { mode: bits, ..BindOptions::default() };
        let _listener = LocalListener::bind(&path, &options).unwrap();
        assert_eq!(mode(&path), bits);
        assert_eq!(mode(&path.with_extension("sock.lock")), 0o600);
    }
}

/// What broke: in a directory for all, whoever had made the lock file before could hold
/// it, and the broker said that another one was running.
#[test]
fn a_lock_that_others_could_hold_is_replaced_or_told() {
    let scratch = Scratch::new("lock");
    let lock = scratch.0.join("broker.sock.lock");
    let held = std::fs::File::create(&lock).unwrap();
    set_mode(&lock, 0o644);
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    drop(bind(&scratch.socket()).unwrap());
    assert_eq!(mode(&lock), 0o600);
    // Nor is a link followed, nor a pipe waited for.
    std::fs::remove_file(&lock).unwrap();
    std::fs::write(scratch.0.join("victim"), "precious").unwrap();
    std::os::unix::fs::symlink("victim", &lock).unwrap();
    drop(bind(&scratch.socket()).unwrap());
    assert!(!lock.is_symlink());
    if std::os::unix::fs::chown(&lock, Some(65534), None).is_err() {
        return println!("SKIPPED: only root can give a file to somebody else");
    }
    drop(bind(&scratch.socket()).unwrap());
    assert_eq!(std::fs::metadata(&lock).unwrap().uid(), rustix::process::geteuid().as_raw());
    let error = BindError::ForeignLock { path: lock, owner: 65534 }.to_string();
    assert!(error.contains("user 65534") && error.contains("another socket"), "{error}");
}

#[test]
fn who_else_could_replace_the_socket_is_told() {
    let scratch = Scratch::new("flaw");
    let inner = scratch.0.join("inner");
    std::fs::create_dir(&inner).unwrap();
    set_mode(&scratch.0, 0o755);
    let flaw = || bind(&inner.join("broker.sock")).unwrap().flaw();
    assert_eq!(flaw(), None);
    set_mode(&inner, 0o777);
    assert!(flaw().unwrap().contains("inner may be written to by others"));
    set_mode(&inner, 0o1777);
    assert_eq!(flaw(), None, "everybody can remove only what is his own");
    set_mode(&inner, 0o755);
    set_mode(&scratch.0, 0o777);
    assert!(flaw().unwrap().contains("may be written to by others"), "further up");
    set_mode(&scratch.0, 0o755);
    if std::os::unix::fs::chown(&inner, Some(65534), None).is_err() {
        return println!("SKIPPED: only root can give a directory to somebody else");
    }
    assert!(flaw().unwrap().contains("belongs to user 65534"));
}

#[test]
fn a_socket_that_was_removed_is_made_again() {
    let scratch = Scratch::new("keeper");
    let path = scratch.socket();
    let options = BindOptions { mode: 0o600, create_parent: true, ..BindOptions::default() };
    let first = LocalListener::bind(&path, &options).unwrap();
    let mut keeper = first.keeper(&options).unwrap();
    assert!(keeper.check().unwrap().is_none());
    std::fs::remove_file(&path).unwrap();
    let second = keeper.check().unwrap().expect("a new listener");
    assert_eq!(mode(&path), 0o600);
    assert!(keeper.check().unwrap().is_none());
    // The old one's end does not touch the new socket, and the lock is still held.
    drop(first);
    connect(&path).unwrap();
    assert!(matches!(bind(&path), Err(BindError::InUse { .. })));
    // All of it, the directory too.
    std::fs::remove_dir_all(&scratch.0).unwrap();
    let third = keeper.check().unwrap().expect("a new listener");
    drop(second);
    connect(&path).unwrap();
    assert!(matches!(bind(&path), Err(BindError::InUse { .. })));
    drop(third);
    drop(keeper);
    bind(&path).unwrap();
}

#[test]
fn a_lock_without_a_listener_is_waited_for() {
    use rustix::fs::{FlockOperation, flock};
    let scratch = Scratch::new("forked");
    let path = scratch.socket();
    drop(bind(&path).unwrap());
    // As a child that was forked while there was a broker, and has not executed its program.
    let lock = std::fs::File::create(path.with_extension("sock.lock")).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    assert!(matches!(bind(&path), Err(BindError::InUse { pid: None, .. })));
    let child = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(50));
        drop(lock);
    });
    bind(&path).unwrap();
    child.join().unwrap();
}

#[test]
fn what_has_taken_a_sockets_place_stays() {
    let scratch = Scratch::new("taken");
    let path = scratch.socket();
    let first = bind(&path).unwrap();
    let mut keeper = first.keeper(&BindOptions::default()).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "mine").unwrap();
    assert!(matches!(keeper.check(), Err(BindError::Replaced { .. })));
    drop(first);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    // Another broker, which found neither socket nor lock.
    std::fs::remove_file(&path).unwrap();
    std::fs::remove_file(path.with_extension("sock.lock")).unwrap();
    let other = bind(&path).unwrap();
    assert!(matches!(keeper.check(), Err(BindError::Replaced { .. })));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(keeper.check(), Err(BindError::InUse { .. })));
    drop(other);
}
