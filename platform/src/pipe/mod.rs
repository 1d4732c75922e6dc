//! One end of a connected named pipe, for programs with threads: Windows alone.
//!
//! ```text
//!   reader thread   read ──▶ ReadFile  ──▶ wait for it, the deadline or the end
//!   other threads   write ─▶ WriteFile ──▶ wait for it or the end
//!                        └─▶ nobody waits: from a buffer of its own, left under way
//!   any thread      shut_down ──▶ the end: all who wait stop
//! ```
//! Each direction has its own operation, so that one never waits for the other: a
//! pipe whose operations are not overlapped would make a write wait for the read
//! that is under way. The system has no write that takes what there is room for and
//! returns, nor a safe way to take back the rest of one; so whoever must not wait
//! leaves one bounded piece under way, and there is no room until it is done.
//!
//! It does not listen; and a shard's pipes are driven by the back ends.
//!
//! Invariant: the system knows the address of a buffer only while its operation is
//! under way, and that ends before the buffer goes.
//!
//! Decision: `docs/decisions/029-windows-client-pipe.md`.

mod event;
mod name;
mod operation;

use std::fs::OpenOptions;
use std::io::{self, IoSlice};
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::OwnedHandle;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::ERROR_PIPE_BUSY;
use windows_sys::Win32::Storage::FileSystem::{FILE_FLAG_OVERLAPPED, SECURITY_IDENTIFICATION};
use windows_sys::Win32::System::Pipes::WaitNamedPipeW;

use event::Event;
pub use name::pipe_name;
use operation::{Operation, Wait};

/// Small parts are gathered to one write of at most this size; and so much a write
/// that does not wait takes.
const GATHER_BYTES: usize = 64 << 10;

/// A part of at least this size is written from where it is, by who may wait.
const DIRECT_BYTES: usize = 32 << 10;

/// Longest time that an operation under way may take when the pipe is dropped.
const DROP_PATIENCE: Duration = Duration::from_millis(200);

/// The longest wait for an instance in one call.
const MAX_BUSY_WAIT_MS: u32 = 1000;

const _: () = assert!(DIRECT_BYTES <= GATHER_BYTES);

/// A connected pipe. All methods take `&self`: one thread reads while others write.
#[derive(Debug)]
pub struct Pipe {
    /// `None`: over. Whoever is in a call has it, too, for as long as that takes.
    handle: Mutex<Option<Arc<OwnedHandle>>>,
    closing: Event,
    reading: Mutex<Operation>,
    writing: Mutex<Writing>,
}

/// The direction of writing.
#[derive(Debug)]
struct Writing {
    operation: Operation,
    /// Bytes of a write that nobody waits for, and small parts that gather.
    gathered: Vec<u8>,
    /// Has the handle while that is so.
    under_way: Option<Arc<OwnedHandle>>,
}

impl Pipe {
    /// Connects to a pipe by its [name](pipe_name), waiting for a free instance
    /// for so long.
    ///
    /// # Errors
    /// What the system says; `TimedOut` if there were only busy instances.
    pub fn connect(name: &Path, timeout: Duration) -> io::Result<Pipe> {
        Pipe::new(open(name, timeout)?)
    }

    /// Takes a connected pipe that was opened for overlapped operations.
    ///
    /// # Errors
    /// What the system says of making events.
    pub fn new(handle: OwnedHandle) -> io::Result<Pipe> {
        let writing =
            Writing { operation: Operation::new()?, gathered: Vec::new(), under_way: None };
        Ok(Pipe {
            handle: Mutex::new(Some(Arc::new(handle))),
            closing: Event::new()?,
            reading: Mutex::new(Operation::new()?),
            writing: Mutex::new(writing),
        })
    }

    fn handle(&self) -> Option<Arc<OwnedHandle>> {
        lock(&self.handle).clone()
    }

    /// Reads what is there, waiting for at least one byte; 0: the end.
    ///
    /// # Errors
    /// `TimedOut`, or what the system says.
    pub fn read(&self, space: &mut [u8], timeout: Option<Duration>) -> io::Result<usize> {
        let mut operation = lock(&self.reading);
        let Some(handle) = self.handle() else { return Ok(0) };
        let read = operation.read(&handle, space, &self.closing, timeout);
        match read {
            Err(error) if is_end(&error) => Ok(0),
            outcome => outcome,
        }
    }

    /// Writes at least one byte of these, waiting for room if `wait`; 0: no room.
    ///
    /// # Errors
    /// `BrokenPipe` if it is over, or what the system says.
    pub fn write(&self, parts: &[IoSlice<'_>], wait: bool) -> io::Result<usize> {
        let mut writing = lock(&self.writing);
        let timeout = if wait { None } else { Some(Duration::ZERO) };
        if !writing.settle(&self.closing, timeout)? {
            return Ok(0);
        }
        let Some(handle) = self.handle() else { return Err(io::ErrorKind::BrokenPipe.into()) };
        let Some(first) = parts.iter().find(|part| !part.is_empty()) else { return Ok(0) };
        if wait && first.len() >= DIRECT_BYTES {
            return writing.operation.write(&handle, first, &self.closing);
        }
        let Writing { operation, gathered, under_way } = &mut *writing;
        gathered.clear();
        for part in parts {
            let room = GATHER_BYTES - gathered.len();
            gathered.extend_from_slice(&part[..part.len().min(room)]);
        }
        if wait {
            return operation.write(&handle, gathered, &self.closing);
        }
        // SAFETY: nothing touches the gathered bytes before it is settled, which
        // dropping does, too.
        if !unsafe { operation.start_write(&handle, gathered)? } {
            *under_way = Some(handle);
        }
        Ok(gathered.len())
    }

    /// Waits until nothing is under way any more; whether that is so.
    ///
    /// # Errors
    /// `BrokenPipe` if it is over, or what the system says.
    pub fn settle(&self, timeout: Duration) -> io::Result<bool> {
        lock(&self.writing).settle(&self.closing, Some(timeout))
    }

    /// Ends both directions: whoever reads or writes stops. What is under way is
    /// given up.
    pub fn shut_down(&self) {
        let handle = lock(&self.handle).take();
        self.closing.set();
        // Whoever is in a call lets go at once.
        lock(&self.writing).give_up();
        drop(handle);
    }
}

impl Writing {
    /// Waits for what is under way; whether it is done.
    fn settle(&mut self, closing: &Event, timeout: Option<Duration>) -> io::Result<bool> {
        let Some(handle) = &self.under_way else { return Ok(true) };
        match self.operation.wait(handle, closing, timeout) {
            Ok(Wait::TimedOut) => return Ok(false),
            Ok(Wait::Done(_)) => {}
            Ok(Wait::Closing) => {
                self.give_up();
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            Err(error) => {
                self.under_way = None;
                return Err(error);
            }
        }
        self.under_way = None;
        Ok(true)
    }

    /// Takes back what is under way.
    fn give_up(&mut self) {
        if let Some(handle) = self.under_way.take() {
            // It is over one way or the other.
            let _ = self.operation.cancel(&handle);
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let writing = self.writing.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = writing.settle(&self.closing, Some(DROP_PATIENCE));
        writing.give_up();
    }
}

/// Opens a pipe, so that who owns it may look who we are, but not act for us.
///
/// # Errors
/// What the system says; `TimedOut` if there were only busy instances.
pub fn open(name: &Path, timeout: Duration) -> io::Result<OwnedHandle> {
    let deadline = Instant::now() + timeout;
    loop {
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(FILE_FLAG_OVERLAPPED)
            .security_qos_flags(SECURITY_IDENTIFICATION)
            .open(name);
        match opened {
            Ok(file) => return Ok(file.into()),
            Err(error) if error.raw_os_error() == Some(ERROR_PIPE_BUSY as i32) => {}
            Err(error) => return Err(error),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let text = "all instances of the pipe are busy";
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        wait_for_instance(name, left);
    }
}

/// Waits until an instance may be free, or for so long; the next try shows.
fn wait_for_instance(name: &Path, left: Duration) {
    use std::os::windows::ffi::OsStrExt;

    let wide: Vec<u16> = name.as_os_str().encode_wide().chain([0]).collect();
    let wait = u32::try_from(left.as_millis()).unwrap_or(u32::MAX).clamp(1, MAX_BUSY_WAIT_MS);
    // SAFETY: the name is there and ends with a zero.
    if unsafe { WaitNamedPipeW(wide.as_ptr(), wait) } == 0 {
        // It may have failed at once, as when its owner makes an instance just now.
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether an error says that the other end is gone.
fn is_end(error: &io::Error) -> bool {
    use windows_sys::Win32::Foundation::{
        ERROR_BROKEN_PIPE, ERROR_NO_DATA, ERROR_PIPE_NOT_CONNECTED,
    };
    let codes = [ERROR_BROKEN_PIPE, ERROR_NO_DATA, ERROR_PIPE_NOT_CONNECTED];
    error.kind() == io::ErrorKind::BrokenPipe
        || error.raw_os_error().is_some_and(|it| codes.contains(&(it as u32)))
}

/// A panic elsewhere leaves nothing here in disorder.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
