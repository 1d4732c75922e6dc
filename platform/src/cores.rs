//! Processor cores that this process may use, and pinning a thread to one.
//!
//! It does not decide whether to pin; where the system cannot, it says so.

use std::io;

/// The cores that the calling thread may run on, ascending; never empty.
#[cfg(target_os = "linux")]
pub fn allowed_cores() -> Vec<usize> {
    use rustix::thread::{CpuSet, sched_getaffinity};

    let Ok(set) = sched_getaffinity(None) else { return vec![0] };
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect();
    if cores.is_empty() { vec![0] } else { cores }
}

/// The cores that this process may run on, ascending; never empty. Of more than 64 only
/// those of one group.
#[cfg(windows)]
pub fn allowed_cores() -> Vec<usize> {
    use windows_sys::Win32::System::Threading::{GetCurrentProcess, GetProcessAffinityMask};

    let (mut own, mut all) = (0_usize, 0_usize);
    // SAFETY: the handle stands for this process, and both results are valid for writing.
    unsafe { GetProcessAffinityMask(GetCurrentProcess(), &raw mut own, &raw mut all) };
    let cores: Vec<usize> =
        (0..usize::BITS).filter(|core| own >> core & 1 == 1).map(|core| core as usize).collect();
    if cores.is_empty() { vec![0] } else { cores }
}

/// The cores that the calling thread may run on, ascending; never empty.
#[cfg(not(any(target_os = "linux", windows)))]
pub fn allowed_cores() -> Vec<usize> {
    (0..std::thread::available_parallelism().map_or(1, |count| count.get())).collect()
}

/// Binds the calling thread to `core`.
///
/// # Errors
/// What the system says; `Unsupported` where it cannot.
pub fn pin_to_core(core: usize) -> io::Result<()> {
    pin_to_cores(&[core])
}

/// Binds the calling thread to these cores.
///
/// # Errors
/// What the system says; `Unsupported` where it cannot.
#[cfg(target_os = "linux")]
pub fn pin_to_cores(cores: &[usize]) -> io::Result<()> {
    use rustix::thread::{CpuSet, sched_setaffinity};

    let mut set = CpuSet::new();
    for &core in cores {
        if core >= CpuSet::MAX_CPU {
            return Err(no_such_core());
        }
        set.set(core);
    }
    sched_setaffinity(None, &set)?;
    Ok(())
}

/// Binds the calling thread to these cores.
///
/// # Errors
/// What the system says; `Unsupported` where it cannot.
#[cfg(windows)]
pub fn pin_to_cores(cores: &[usize]) -> io::Result<()> {
    use windows_sys::Win32::System::Threading::{GetCurrentThread, SetThreadAffinityMask};

    let mut mask = 0;
    for &core in cores {
        let bit = u32::try_from(core).ok().and_then(|core| 1_usize.checked_shl(core));
        mask |= bit.ok_or_else(no_such_core)?;
    }
    // SAFETY: the handle stands for this thread.
    match unsafe { SetThreadAffinityMask(GetCurrentThread(), mask) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Binds the calling thread to these cores.
///
/// # Errors
/// What the system says; `Unsupported` where it cannot.
#[cfg(not(any(target_os = "linux", windows)))]
pub fn pin_to_cores(_cores: &[usize]) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "threads cannot be pinned on this system"))
}

#[cfg(any(target_os = "linux", windows))]
fn no_such_core() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "no such core")
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_may_use_its_core_alone() {
        std::thread::spawn(|| {
            let core = *allowed_cores().last().unwrap();
            pin_to_core(core).unwrap();
            assert_eq!(allowed_cores(), [core]);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_core_that_cannot_be_is_refused() {
        assert!(pin_to_core(usize::MAX).is_err());
    }
}
