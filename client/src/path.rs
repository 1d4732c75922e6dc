//! Where the broker's socket is unless somebody says otherwise.

use std::path::PathBuf;

/// The default socket: `/run/netcluster/default.sock` for root, else
/// `$XDG_RUNTIME_DIR/netcluster/default.sock`, else
/// `/tmp/netcluster-<uid>/default.sock`. Broker and clients use the same.
pub fn default_socket_path() -> PathBuf {
    let user = rustix::process::getuid();
    choose(user.as_raw(), std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from))
}

fn choose(user: u32, runtime_directory: Option<PathBuf>) -> PathBuf {
    let directory = match runtime_directory {
        _ if user == 0 => PathBuf::from("/run/netcluster"),
        Some(directory) if directory.is_absolute() => directory.join("netcluster"),
        _ => PathBuf::from(format!("/tmp/netcluster-{user}")),
    };
    directory.join("default.sock")
}

#[cfg(test)]
mod tests {
    use super::*;

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
