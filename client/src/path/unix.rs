//! Paths of the broker's socket on Unix unless somebody says otherwise, and whether
//! what is there can be ours.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::SocketAddrUnix;

use crate::error::Error;

/// The advice that gives somebody access.
pub(crate) const ACCESS_ADVICE: &str =
    "join the socket's group, or start the broker with --socket-mode or --socket-group";

/// Permission bits of a directory in which others may create files: sticky or
/// writable for all.
const SHARED_BITS: u32 = 0o1002;

/// Permission bits that let somebody else than the owner replace the socket.
const FOREIGN_WRITE_BITS: u32 = 0o022;

/// The longest path that the system takes for a socket's.
const MAX_PATH_BYTES: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// The directory of root's broker, which serves the whole machine.
const SYSTEM_DIRECTORY: &str = "/run/netcluster";

pub(super) fn system_socket_path() -> PathBuf {
    Path::new(SYSTEM_DIRECTORY).join("default.sock")
}

pub(super) fn own_socket_path() -> PathBuf {
    let user = rustix::process::getuid();
    choose(user.as_raw(), std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from))
}

fn choose(user: u32, runtime_directory: Option<PathBuf>) -> PathBuf {
    let directory = match runtime_directory {
        _ if user == 0 => PathBuf::from(SYSTEM_DIRECTORY),
        Some(directory) if directory.is_absolute() => directory.join("netcluster"),
        _ => PathBuf::from(format!("/tmp/netcluster-{user}")),
    };
    directory.join("default.sock")
}

/// Makes the path absolute; gives the path itself if there is none, or none that the system
/// takes for a socket's.
pub(super) fn place(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).ok();
    absolute.filter(|absolute| SocketAddrUnix::new(absolute).is_ok()).unwrap_or(path.to_owned())
}

/// Tells why the system takes no such path for a socket's.
pub(super) fn flaw_of_form(path: &Path) -> Option<String> {
    match SocketAddrUnix::new(path) {
        Ok(_) => None,
        Err(Errno::NAMETOOLONG) => Some(format!(
            "the path has {} bytes, and that of a socket at most {MAX_PATH_BYTES}: choose a shorter \
             one",
            path.as_os_str().len()
        )),
        Err(error) => Some(format!("the path can be no socket's: {error}")),
    }
}

/// Refuses the default socket if anybody could have made its directory and
/// somebody else did, or may replace what is in it: he would get what is emitted.
/// What cannot be looked at cannot be connected to, which is told better then.
///
/// # Errors
/// [`Error::UntrustedSocket`], with the flaw and what to do as its reason.
pub(crate) fn check_directory(path: &Path) -> Result<(), Error> {
    let Some(directory) = path.parent() else { return Ok(()) };
    let Some(Ok(around)) = directory.parent().map(std::fs::metadata) else { return Ok(()) };
    let Ok(status) = std::fs::symlink_metadata(directory) else { return Ok(()) };
    if around.mode() & SHARED_BITS == 0 {
        return Ok(());
    }
    match flaw(&status) {
        None => Ok(()),
        Some(flaw) => {
            let directory = directory.display();
            let reason = format!(
                "anybody could have made {directory}, and it {flaw}: have it removed and start \
                 the broker anew, or choose another socket path"
            );
            Err(Error::UntrustedSocket { path: path.to_owned(), reason })
        }
    }
}

/// Tells what makes a directory (or link) somebody else's.
fn flaw(status: &Metadata) -> Option<String> {
    if status.uid() != rustix::process::geteuid().as_raw() && status.uid() != 0 {
        Some(format!("belongs to user {}", status.uid()))
    } else if status.is_symlink() {
        Some("is a symbolic link".to_owned())
    } else if status.mode() & FOREIGN_WRITE_BITS != 0 {
        Some("may be written to by others (chmod go-w is enough if it is yours)".to_owned())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    fn refusal(directory: &Path) -> Option<String> {
        check_directory(&directory.join("default.sock")).err().map(|error| error.to_string())
    }

    #[test]
    fn a_directory_that_somebody_else_may_control_is_refused_where_anybody_may_create_it() {
        let around = std::env::temp_dir().join(format!("netcluster-trust-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&around);
        let directory = around.join("netcluster");
        std::fs::create_dir_all(&directory).unwrap();
        let set_mode = |path: &Path, mode| {
            std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        };
        symlink("netcluster", around.join("link")).unwrap();
        set_mode(&directory, 0o775);
        set_mode(&around, 0o755);
        assert_eq!(refusal(&directory), None);
        assert_eq!(refusal(&around.join("link")), None);
        set_mode(&around, 0o1777);
        assert!(refusal(&directory).unwrap().contains("written to by others"));
        assert!(refusal(&around.join("link")).unwrap().contains("symbolic link"));
        set_mode(&directory, 0o755);
        assert_eq!(refusal(&directory), None);
        assert_eq!(refusal(&around.join("missing")), None);
        if chown(&directory, Some(65534), None).is_ok() {
            let text = refusal(&directory).unwrap();
            assert!(text.contains("user 65534") && text.contains("removed"), "{text}");
            set_mode(&around, 0o755);
            assert_eq!(refusal(&directory), None);
        } else {
            println!("SKIPPED: only root can give a directory to somebody else");
        }
        std::fs::remove_dir_all(&around).unwrap();
    }

    #[test]
    fn a_relative_path_becomes_absolute_unless_it_gets_too_long_for_a_socket() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(place(Path::new("a.sock")), here.join("a.sock"));
        assert_eq!(place(Path::new("/a/b.sock")), Path::new("/a/b.sock"));
        let long = format!("{}.sock", "x".repeat(100));
        assert_eq!(place(Path::new(&long)), Path::new(&long));
    }

    #[test]
    fn root_users_with_and_without_a_runtime_directory_have_their_own_place() {
        let runtime = Some(PathBuf::from("/run/user/5"));
        let path = |user, runtime| choose(user, runtime).to_str().unwrap().to_owned();
        assert_eq!(path(0, runtime.clone()), "/run/netcluster/default.sock");
        assert_eq!(path(5, runtime), "/run/user/5/netcluster/default.sock");
        assert_eq!(path(5, Some("relative".into())), "/tmp/netcluster-5/default.sock");
        assert_eq!(path(5, None), "/tmp/netcluster-5/default.sock");
    }
}
