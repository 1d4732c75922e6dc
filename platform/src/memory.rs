//! How much memory this process may count on.
//!
//! It reads limits and does not watch usage.

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

/// The lowest `memory.max` of this process's cgroup (version 2) and those above.
#[cfg(target_os = "linux")]
fn container_bytes() -> Option<u64> {
    let membership = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = group_of(&membership)?;
    lowest_limit(std::path::Path::new("/sys/fs/cgroup"), group)
}

#[cfg(not(target_os = "linux"))]
fn container_bytes() -> Option<u64> {
    None
}

/// The version 2 group in the text of `/proc/self/cgroup`, without its first `/`.
#[cfg(target_os = "linux")]
fn group_of(membership: &str) -> Option<&str> {
    membership.lines().find_map(|line| line.strip_prefix("0::/"))
}

/// The lowest limit of `group` and its parents below `root`.
#[cfg(target_os = "linux")]
fn lowest_limit(root: &std::path::Path, group: &str) -> Option<u64> {
    let start = root.join(group);
    start
        .ancestors()
        .take_while(|directory| directory.starts_with(root))
        .filter_map(|directory| std::fs::read_to_string(directory.join("memory.max")).ok())
        // "max" is no limit and no number.
        .filter_map(|text| text.trim().parse::<u64>().ok())
        .min()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_memory() {
        assert!(memory_total_bytes().unwrap() > 1 << 20);
    }

    #[test]
    fn the_lowest_limit_on_the_way_up_counts() {
        let root = std::env::temp_dir().join(format!("netcluster-memory-{}", std::process::id()));
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/memory.max"), "4096\n").unwrap();
        std::fs::write(root.join("a/b/memory.max"), "max\n").unwrap();
        assert_eq!(lowest_limit(&root, "a/b"), Some(4096));
        std::fs::write(root.join("a/b/memory.max"), "1024\n").unwrap();
        assert_eq!(lowest_limit(&root, "a/b"), Some(1024));
        assert_eq!(lowest_limit(&root, ""), None);
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn only_version_2_groups_count() {
        assert_eq!(group_of("1:memory:/old\n0::/user.slice/x\n"), Some("user.slice/x"));
        assert_eq!(group_of("0::/\n"), Some(""));
        assert_eq!(group_of("1:memory:/old\n"), None);
    }
}
