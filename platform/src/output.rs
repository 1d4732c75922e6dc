//! Standard output, as a pipe whose reader may go: `| head` has had enough long before
//! there is something more to write.

/// Waits until nobody reads standard output any more. Returns false at once or later
/// if that cannot be told here.
#[cfg(unix)]
pub fn wait_until_unread() -> bool {
    use std::os::fd::AsFd;

    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::io::Errno;

    let output = std::io::stdout();
    loop {
        // Asked for nothing, it still tells of an end that is gone.
        let mut watched = [PollFd::from_borrowed_fd(output.as_fd(), PollFlags::empty())];
        match poll(&mut watched, None) {
            Ok(_) if watched[0].revents().contains(PollFlags::NVAL) => return false,
            Ok(_) if watched[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) => {
                return true;
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// Waits until nobody reads standard output any more. Windows does not tell before
/// something is written.
#[cfg(not(unix))]
pub fn wait_until_unread() -> bool {
    false
}
