//! Memory that this process may count on.
//!
//! It reads limits and does not watch usage.

/// cgroup version 1 says "no limit" by a number of this size: all pages that a count can hold.
#[cfg(target_os = "linux")]
const UNLIMITED_BYTES: u64 = 1 << 60;

/// The machine's memory in bytes, or the container's limit when that is lower.
/// `None` if the system does not tell.
pub fn memory_total_bytes() -> Option<u64> {
    let machine = machine_bytes();
    let container = container_bytes();
    match (machine, container) {
        (Some(machine), Some(container)) => Some(machine.min(container)),
        (machine, container) => machine.or(container),
    }
}

/// The bytes that the container of this process may still use; `None` if it has no limit,
/// or the system does not tell.
pub fn memory_available_bytes() -> Option<u64> {
    container_rest_bytes()
}

#[cfg(unix)]
fn machine_bytes() -> Option<u64> {
    // SAFETY: `sysconf` only returns a value.
    let (pages, page_bytes) =
        unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
    u64::try_from(pages).ok()?.checked_mul(u64::try_from(page_bytes).ok()?)
}

#[cfg(windows)]
fn machine_bytes() -> Option<u64> {
    use windows_sys::Win32::System::SystemInformation::{GlobalMemoryStatusEx, MEMORYSTATUSEX};

    let length = size_of::<MEMORYSTATUSEX>() as u32;
    let mut status = MEMORYSTATUSEX { dwLength: length, ..MEMORYSTATUSEX::default() };
    // SAFETY: the result is valid for writing and says how long it is.
    let told = unsafe { GlobalMemoryStatusEx(&raw mut status) };
    (told != 0).then_some(status.ullTotalPhys)
}

#[cfg(not(any(unix, windows)))]
fn machine_bytes() -> Option<u64> {
    None
}

/// The lowest limit of this process's control groups and those above, of version 2 and
/// of version 1.
#[cfg(target_os = "linux")]
fn container_bytes() -> Option<u64> {
    let membership = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    limit_of(&membership, std::path::Path::new("/sys/fs/cgroup"))
}

#[cfg(not(target_os = "linux"))]
fn container_bytes() -> Option<u64> {
    None
}

/// The least that the limits of this process's control groups and those above leave.
#[cfg(target_os = "linux")]
fn container_rest_bytes() -> Option<u64> {
    let membership = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    rest_of(&membership, std::path::Path::new("/sys/fs/cgroup"))
}

#[cfg(not(target_os = "linux"))]
fn container_rest_bytes() -> Option<u64> {
    None
}

/// The lowest limit of the groups in the text of `/proc/self/cgroup`, below the place
/// where the groups are shown.
#[cfg(target_os = "linux")]
fn limit_of(membership: &str, root: &std::path::Path) -> Option<u64> {
    limits(membership, root).into_iter().map(|limit| limit.bytes).min()
}

/// The least that these groups' limits leave. Files that were read and are not in use count
/// as used, but make room for whoever needs it.
#[cfg(target_os = "linux")]
fn rest_of(membership: &str, root: &std::path::Path) -> Option<u64> {
    let rest = |limit: GroupLimit| {
        let used = number(&limit.usage)?.saturating_sub(cached(&limit.usage).unwrap_or(0));
        Some(limit.bytes.saturating_sub(used))
    };
    limits(membership, root).into_iter().filter_map(rest).min()
}

/// Bytes of files in memory that are not in use, of the group with this file of its usage.
#[cfg(target_os = "linux")]
fn cached(usage: &std::path::Path) -> Option<u64> {
    let stat = std::fs::read_to_string(usage.with_file_name("memory.stat")).ok()?;
    let value = |name| {
        let mut lines = stat.lines().filter_map(|line| line.split_once(' '));
        lines.find(|(key, _)| *key == name)?.1.parse().ok()
    };
    // Version 1 counts the groups below apart.
    value("total_inactive_file").or_else(|| value("inactive_file"))
}

/// The limit of a group.
#[cfg(target_os = "linux")]
struct GroupLimit {
    bytes: u64,
    /// The file that says how much is used.
    usage: std::path::PathBuf,
}

/// The limits of the groups in the text of `/proc/self/cgroup` and of those above.
#[cfg(target_os = "linux")]
fn limits(membership: &str, root: &std::path::Path) -> Vec<GroupLimit> {
    let mut limits = Vec::new();
    for line in membership.lines() {
        // Number, controllers, path.
        let mut fields = line.splitn(3, ':');
        let (Some(number), Some(controllers), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let Some(group) = path.strip_prefix('/') else { continue };
        if controllers.split(',').any(|it| it == "memory") {
            let files = ["memory.limit_in_bytes", "memory.usage_in_bytes"];
            limits.extend(limits_below(&root.join("memory"), group, files));
        } else if number == "0" && controllers.is_empty() {
            // Beside version 1, version 2 is shown in a place of its own.
            for root in [root.to_owned(), root.join("unified")] {
                limits.extend(limits_below(&root, group, ["memory.max", "memory.current"]));
            }
        }
    }
    limits
}

/// The limits in these files, limit and usage, of `group` and its parents, `root` among
/// them. In a container the group itself may not be shown: then `root` is what limits it.
#[cfg(target_os = "linux")]
fn limits_below(root: &std::path::Path, group: &str, files: [&str; 2]) -> Vec<GroupLimit> {
    let start = root.join(group);
    let groups = start.ancestors().take_while(|directory| directory.starts_with(root));
    groups
        .filter_map(|directory| {
            // "max" is no limit and no number.
            let bytes = number(&directory.join(files[0])).filter(|&bytes| bytes < UNLIMITED_BYTES);
            Some(GroupLimit { bytes: bytes?, usage: directory.join(files[1]) })
        })
        .collect()
}

/// The number in a file.
#[cfg(target_os = "linux")]
fn number(file: &std::path::Path) -> Option<u64> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_memory() {
        assert!(memory_total_bytes().unwrap() > 1 << 20);
    }

    /// A directory with these files, removed at the end.
    struct Groups(std::path::PathBuf);

    impl Groups {
        fn new(name: &str, files: &[(&str, &str)]) -> Groups {
            let name = format!("netcluster-memory-{}-{name}", std::process::id());
            let root = std::env::temp_dir().join(name);
            for (file, text) in files {
                let path = root.join(file);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            Groups(root)
        }
    }

    impl Drop for Groups {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_lowest_limit_on_the_way_up_counts() {
        let groups = Groups::new(
            "v2",
            &[
                ("a/memory.max", "4096\n"),
                ("a/b/memory.max", "max\n"),
                ("a/c/memory.max", "1024\n"),
            ],
        );
        let limit = |membership| limit_of(membership, &groups.0);
        assert_eq!(limit("0::/a/b\n"), Some(4096));
        assert_eq!(limit("0::/a/c\n"), Some(1024));
        assert_eq!(limit("0::/\n"), None);
        assert_eq!(limit("nonsense\n"), None);
    }

    /// What broke: a container whose limit was reached by files that somebody had read had no
    /// memory to share.
    #[test]
    fn files_that_are_not_in_use_leave_room() {
        let groups = Groups::new(
            "cache",
            &[
                ("a/memory.max", "8192\n"),
                ("a/memory.current", "8000\n"),
                ("a/memory.stat", "anon 400\ninactive_file 4096\nactive_file 3000\n"),
                ("b/memory.max", "8192\n"),
                ("b/memory.current", "8000\n"),
                ("memory/c/memory.limit_in_bytes", "8192\n"),
                ("memory/c/memory.usage_in_bytes", "8000\n"),
                ("memory/c/memory.stat", "inactive_file 0\ntotal_inactive_file 1000\n"),
            ],
        );
        let rest = |membership| rest_of(membership, &groups.0);
        assert_eq!(rest("0::/a\n"), Some(8192 - 8000 + 4096));
        assert_eq!(rest("0::/b\n"), Some(192));
        assert_eq!(rest("3:memory:/c\n"), Some(192 + 1000));
    }

    /// What broke: a container of version 1 was taken for the whole machine.
    #[test]
    fn limits_of_version_1_count_too() {
        let groups = Groups::new(
            "v1",
            &[
                ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ("memory/docker/memory.limit_in_bytes", "8192\n"),
                ("memory/docker/x/memory.limit_in_bytes", "9223372036854771712\n"),
                ("unified/y/memory.max", "2048\n"),
            ],
        );
        let limit = |membership| limit_of(membership, &groups.0);
        assert_eq!(limit("4:cpu:/docker/x\n3:hugetlb,memory:/docker/x\n0::/\n"), Some(8192));
        assert_eq!(limit("3:memory:/\n"), None, "that number means none");
        assert_eq!(limit("3:memory:/docker/x\n0::/y\n"), Some(2048));
        assert_eq!(limit("3:memory:/docker/gone/from/sight\n"), Some(8192));
    }
}
