use std::os::windows::io::AsHandle;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::pipe::Pipe;

const PATIENCE: Duration = Duration::from_secs(20);

fn unused() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    PathBuf::from(format!(r"\\.\pipe\netcluster-local-{}-{number}", std::process::id()))
}

fn bind(path: &Path) -> Result<LocalListener, BindError> {
    LocalListener::bind(path, &BindOptions::default())
}

#[test]
fn clients_can_connect_as_soon_as_it_is_bound_and_no_more_when_it_is_dropped() {
    let path = unused();
    let listener = bind(&path).unwrap();
    assert_eq!(listener.path(), path);
    drop(Pipe::connect(&path, PATIENCE).unwrap());
    drop(listener);
    assert!(Pipe::connect(&path, Duration::ZERO).is_err());
    bind(&path).unwrap();
}

#[test]
fn a_second_broker_is_refused_however_it_writes_the_name() {
    let path = unused();
    let _first = bind(&path).unwrap();
    let verbatim = path.to_str().unwrap().replace(r"\\.\", r"\\?\").to_uppercase();
    for other in [&path, Path::new(&verbatim)] {
        let error = bind(other).unwrap_err();
        assert!(matches!(error, BindError::InUse { .. }), "{error}");
    }
    Pipe::connect(&path, PATIENCE).unwrap();
}

#[test]
fn each_shard_has_a_listener_and_together_they_hold_the_name() {
    let path = unused();
    let mut all = bind(&path).unwrap().for_shards(3);
    let instances: Vec<_> = all.iter_mut().map(|it| it.instance().unwrap()).collect();
    let connect = |_: &OwnedHandle| Pipe::connect(&path, PATIENCE).unwrap();
    let _clients: Vec<Pipe> = instances.iter().map(connect).collect();
    all.truncate(1);
    assert!(matches!(bind(&path), Err(BindError::InUse { .. })));
    drop((all, instances));
    bind(&path).unwrap();
}

#[test]
fn a_client_is_known_by_process_and_user() {
    let path = unused();
    let mut listener = bind(&path).unwrap();
    let _client = Pipe::connect(&path, PATIENCE).unwrap();
    let peer = peer::of(listener.instance().unwrap().as_handle());
    assert_eq!(peer.pid, std::process::id());
    assert_eq!(peer.user.as_deref(), Some(&accounts::own_identifier().unwrap()));
    assert_eq!((peer.uid, peer.gid), (u32::MAX, u32::MAX));
}

#[test]
fn groups_are_named_not_numbered() {
    let with = |group| BindOptions { group: Some(group), ..BindOptions::default() };
    let error = LocalListener::bind(&unused(), &with(Group::Id(7))).unwrap_err();
    assert!(error.to_string().contains(r"DOMAIN\group"), "{error}");
    let unknown = with(Group::Name("no-such-group-here".to_owned()));
    let error = LocalListener::bind(&unused(), &unknown).unwrap_err();
    assert!(matches!(error, BindError::UnknownGroup { .. }), "{error}");
    let own = account_name(&accounts::own_identifier().unwrap()).unwrap();
    let _listener = LocalListener::bind(&unused(), &with(Group::Name(own))).unwrap();
}
