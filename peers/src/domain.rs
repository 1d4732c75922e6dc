//! Domain of a peer without a broker: the names that its processes share, and their
//! removal.
//!
//! ```text
//!   /dev/shm/nclt-4711-0_lock       held while the run lasts, even if nothing else does
//!           /nclt-4711-0_dir/       files and sockets of the library
//!           /nclt-4711-0_…          its shared memory
//! ```
//! All names of a run begin alike, so that they can be found whoever made them and
//! however its process ended. The one who runs removes them; if that one is killed, its
//! lock is free, and whoever runs next removes them ([`OwnDomain::new`]).
//!
//! Invariant: what is removed belongs to a domain whose lock is held here.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Directory in which shared memory has its names.
const SHARED_MEMORY: &str = "/dev/shm";
/// Start of all names of all domains.
const START: &str = "nclt-";
const LOCK: &str = "lock";
const DIRECTORY: &str = "dir";
/// Most domains of one process that are there at once.
const MAX_DOMAINS: u32 = 1000;

/// Domain of a run, as the run's processes know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// Start of all names of the domain.
    pub prefix: String,
    /// Directory for files and sockets, with a short path: a socket's is limited.
    pub directory: PathBuf,
    /// Length of the longest payload, in bytes.
    pub payload_bytes: usize,
    /// Number of subscribers that each topic has at most.
    pub subscribers: usize,
    /// Way in which subscribers wait.
    pub waiting: Waiting,
}

/// Way in which a subscriber waits for events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Waiting {
    /// Asleep, until the publisher's notification.
    Asleep,
    /// Looking again and again; nobody is notified.
    Polling,
}

/// Domain that is removed with all that is in it when this is dropped.
#[derive(Debug)]
pub struct OwnDomain {
    domain: Domain,
    root: PathBuf,
    _lock: File,
}

impl OwnDomain {
    /// Makes a domain, and removes those whose owner is gone.
    ///
    /// # Errors
    /// If the system has no directory for shared memory, or nothing can be made there.
    pub fn new(payload_bytes: usize, subscribers: usize, waiting: Waiting) -> Result<OwnDomain> {
        OwnDomain::within(Path::new(SHARED_MEMORY), payload_bytes, subscribers, waiting)
    }

    fn within(
        root: &Path,
        payload_bytes: usize,
        subscribers: usize,
        waiting: Waiting,
    ) -> Result<OwnDomain> {
        remove_abandoned(root)?;
        let process = std::process::id();
        for number in 0..MAX_DOMAINS {
            let prefix = format!("{START}{process}-{number}_");
            let path = root.join(format!("{prefix}{LOCK}"));
            let Some(lock) = hold(&path, OpenOptions::new().write(true).create_new(true))? else {
                continue;
            };
            let directory = root.join(format!("{prefix}{DIRECTORY}"));
            fs::create_dir(&directory)?;
            let domain = Domain { prefix, directory, payload_bytes, subscribers, waiting };
            return Ok(OwnDomain { domain, root: root.into(), _lock: lock });
        }
        Err(Error::other(format!("{MAX_DOMAINS} domains of process {process} are in use")))
    }

    /// Returns the domain for the processes of the run.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }
}

impl Drop for OwnDomain {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next run, or told by it.
        let _ = remove(&self.root, &self.domain.prefix);
    }
}

/// Opens and locks a file; `None` if another holds it, or has just removed it.
fn hold(path: &Path, options: &OpenOptions) -> Result<Option<File>> {
    let file = match options.open(path) {
        Ok(file) => file,
        Err(error) => match error.kind() {
            // Another user's is not ours to remove.
            ErrorKind::AlreadyExists | ErrorKind::NotFound | ErrorKind::PermissionDenied => {
                return Ok(None);
            }
            _ => return Err(error),
        },
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let (held, there) = (file.metadata()?.ino(), fs::metadata(path).map(|there| there.ino()));
    Ok(there.is_ok_and(|there| there == held).then_some(file))
}

/// Removes the domains whose lock nobody holds.
fn remove_abandoned(root: &Path) -> Result<()> {
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name();
        let prefix = name.to_str().and_then(|name| name.strip_suffix(LOCK));
        let Some(prefix) = prefix.filter(|prefix| prefix.starts_with(START)) else { continue };
        if let Some(_lock) = hold(&root.join(&name), OpenOptions::new().write(true))? {
            remove(root, prefix)?;
        }
    }
    Ok(())
}

/// Removes all that begins so, the lock last: until then nobody else begins to.
fn remove(root: &Path, prefix: &str) -> Result<()> {
    let lock = format!("{prefix}{LOCK}");
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name();
        if !name.to_str().is_some_and(|name| name.starts_with(prefix) && name != lock) {
            continue;
        }
        let removed = if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())
        } else {
            fs::remove_file(entry.path())
        };
        // A process of the run that ends at this moment removes its own.
        removed.or_else(|error| match error.kind() {
            ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
    }
    fs::remove_file(root.join(lock))
}

#[cfg(test)]
mod tests {
    use netcluster_testkit::Directory;

    use super::*;

    fn make(root: &Path) -> OwnDomain {
        OwnDomain::within(root, 64, 1, Waiting::Asleep).unwrap()
    }

    fn names(root: &Path) -> Vec<String> {
        let entries = fs::read_dir(root).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_domain_is_gone_with_all_that_begins_like_it_and_nothing_else() {
        let root = Directory::new();
        let (first, second) = (make(root.path()), make(root.path()));
        assert_ne!(first.domain().prefix, second.domain().prefix);
        fs::write(root.path().join("another"), "").unwrap();
        for own in [&first, &second] {
            let prefix = &own.domain().prefix;
            fs::write(root.path().join(format!("{prefix}4711.data")), "memory").unwrap();
            fs::write(own.domain().directory.join("socket"), "").unwrap();
        }
        drop(first);
        let rest = names(root.path());
        let prefix = &second.domain().prefix;
        assert_eq!(rest.len(), 4, "{rest:?}");
        assert!(rest[1..].iter().all(|name| name.starts_with(prefix)), "{rest:?}");
        drop(second);
        assert_eq!(names(root.path()), ["another"]);
    }

    #[test]
    fn whoever_comes_next_removes_the_domain_of_one_that_was_killed() {
        let root = Directory::new();
        let alive = make(root.path());
        // As a process leaves it that is killed: its lock is free, the rest is there.
        for left in ["nclt-1-0_lock", "nclt-1-0_4711.data", "nclt-1-1_not-locked.data"] {
            fs::write(root.path().join(left), "").unwrap();
        }
        fs::create_dir(root.path().join("nclt-1-0_dir")).unwrap();
        let next = make(root.path());
        let rest = names(root.path());
        assert!(rest.iter().all(|name| !name.starts_with("nclt-1-0_")), "{rest:?}");
        let kept = |own: &OwnDomain| own.domain().directory.is_dir();
        assert!(kept(&alive) && kept(&next), "{rest:?}");
        // Without a lock nobody knows whether it is in use.
        assert!(rest.contains(&"nclt-1-1_not-locked.data".into()), "{rest:?}");
    }

    #[test]
    fn without_a_place_for_shared_memory_there_is_an_error() {
        let root = Directory::new();
        let missing = root.path().join("missing");
        assert!(OwnDomain::within(&missing, 64, 1, Waiting::Polling).is_err());
    }
}
