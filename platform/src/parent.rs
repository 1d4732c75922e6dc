//! The end of the process that started this one.
//!
//! On Unix the parent itself is watched: on Linux by a descriptor of it, elsewhere by
//! looking. (A signal on its death would come when the *thread* ends that started this
//! process.) On Windows, where a process may outlive whoever holds its number, it is the
//! pipe to the standard input that ends with the parent.

use std::io;

#[cfg(unix)]
pub use unix::Parent;

#[cfg(not(unix))]
pub use elsewhere::Parent;

impl Parent {
    /// Waits for the end, on a thread of its own, and calls `ended` then.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn on_end(self, ended: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let wait = move || {
            self.wait();
            ended();
        };
        std::thread::Builder::new().name("parent".into()).spawn(wait).map(drop)
    }
}

#[cfg(unix)]
mod unix {
    use std::thread;
    use std::time::Duration;

    use rustix::process::{Pid, getppid};

    /// Time between two looks at the parent, where it does not tell of its end.
    const LOOK_EVERY: Duration = Duration::from_millis(200);

    /// The process that started this one.
    #[derive(Debug)]
    pub struct Parent {
        pid: Option<Pid>,
        #[cfg(target_os = "linux")]
        descriptor: Option<std::os::fd::OwnedFd>,
    }

    impl Parent {
        /// The parent of this process; `None` if it has ended already: then another process
        /// has taken its place, which is only told by the number `expected`, if that is
        /// known.
        pub fn watch(expected: Option<u32>) -> Option<Parent> {
            let pid = getppid();
            #[cfg(target_os = "linux")]
            let descriptor = pid.and_then(|pid| {
                use rustix::process::{PidfdFlags, pidfd_open};

                pidfd_open(pid, PidfdFlags::empty()).ok()
            });
            let number = pid.map_or(0, |pid| pid.as_raw_nonzero().get().unsigned_abs());
            // Asked again: the descriptor is that of the parent, or of nobody.
            let is_there = getppid() == pid && expected.is_none_or(|expected| expected == number);
            is_there.then_some(Parent {
                pid,
                #[cfg(target_os = "linux")]
                descriptor,
            })
        }

        pub(super) fn wait(&self) {
            #[cfg(target_os = "linux")]
            if let Some(descriptor) = &self.descriptor {
                use rustix::event::{PollFd, PollFlags, poll};

                let mut watched = [PollFd::new(descriptor, PollFlags::IN)];
                while poll(&mut watched, None) == Err(rustix::io::Errno::INTR) {}
            }
            while getppid() == self.pid {
                thread::sleep(LOOK_EVERY);
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_parent_is_known_by_its_number() {
            let number = std::os::unix::process::parent_id();
            assert!(Parent::watch(None).is_some());
            assert!(Parent::watch(Some(number)).is_some());
            assert!(Parent::watch(Some(number + 1)).is_none(), "its place is taken");
        }
    }
}

#[cfg(not(unix))]
mod elsewhere {
    use std::io::{Read, stdin};

    /// The process at the other end of the standard input.
    #[derive(Debug)]
    pub struct Parent(());

    impl Parent {
        /// The process that writes the standard input; its number is not looked at.
        pub fn watch(_expected: Option<u32>) -> Option<Parent> {
            Some(Parent(()))
        }

        pub(super) fn wait(&self) {
            let mut bytes = [0; 64];
            while matches!(stdin().read(&mut bytes), Ok(1..)) {}
        }
    }
}
