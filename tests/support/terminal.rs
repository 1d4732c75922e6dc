//! Terminal of a pseudoterminal: what a command draws on it, and the keys that it gets.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal};
use rustix::pty::OpenptFlags;
use rustix::termios::{Termios, Winsize};

use super::wait_until;

/// A child on a terminal of its own.
pub struct Terminal {
    child: Child,
    master: File,
    /// The other end, kept open so that the master outlives the child.
    slave: OwnedFd,
    /// Settings of the terminal before the child had it.
    before: Termios,
    screen: Arc<Mutex<Screen>>,
}

/// Contents of the terminal.
#[derive(Default)]
pub struct Screen {
    width: usize,
    height: usize,
    cells: Vec<Vec<char>>,
    row: usize,
    column: usize,
    /// Whether it is the alternate screen, which leaves the other as it was.
    pub is_alternate: bool,
    /// Whether the cursor is hidden.
    pub is_cursor_hidden: bool,
    /// Control sequences and characters that this terminal does not know.
    pub unknown: Vec<String>,
}

impl Terminal {
    /// Starts a command on a terminal of this width and height.
    pub fn start(command: Command, (width, height): (u16, u16)) -> Terminal {
        let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        rustix::pty::grantpt(&master).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = rustix::fs::open(&name, flags, Mode::empty()).unwrap();
        rustix::termios::tcsetwinsize(&master, winsize(width, height)).unwrap();
        let before = rustix::termios::tcgetattr(&slave).unwrap();
        // In a session of its own, whose terminal it is, so that it is told of another size.
        let mut session = Command::new("setsid");
        session.arg("--ctty").arg(command.get_program()).args(command.get_args());
        let end = || Stdio::from(slave.try_clone().unwrap());
        let child = session.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let master = File::from(master);
        let screen = Arc::new(Mutex::new(Screen::default()));
        lock(&screen).resize(width, height);
        let (mut reading, drawn) = (master.try_clone().unwrap(), Arc::clone(&screen));
        thread::spawn(move || {
            let mut rest = Vec::new();
            let mut buffer = [0; 4096];
            while let Ok(bytes @ 1..) = reading.read(&mut buffer) {
                rest.extend_from_slice(&buffer[..bytes]);
                lock(&drawn).take(&mut rest);
            }
        });
        Terminal { child, master, slave, before, screen }
    }

    /// Types.
    pub fn type_in(&self, keys: &str) {
        (&self.master).write_all(keys.as_bytes()).unwrap();
    }

    /// Gives the terminal another size.
    pub fn resize(&self, width: u16, height: u16) {
        lock(&self.screen).resize(width, height);
        rustix::termios::tcsetwinsize(&self.master, winsize(width, height)).unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits until something can be seen, and returns the lines.
    #[track_caller]
    pub fn wait_for(&self, what: &str, is_seen: impl Fn(&[String]) -> bool) -> Vec<String> {
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until(what, || is_seen(&self.lines()));
        }));
        let lines = self.lines();
        assert!(seen.is_ok(), "not seen: {what}\n{}", lines.join("\n"));
        lines
    }

    /// Returns the lines that are there now.
    pub fn lines(&self) -> Vec<String> {
        let lines = lock(&self.screen).cells.clone();
        lines.iter().map(|line| line.iter().collect::<String>().trim_end().to_owned()).collect()
    }

    /// Checks that it has drawn what a terminal knows, and nothing that others made up.
    #[track_caller]
    pub fn check_harmless(&self) {
        let unknown = &lock(&self.screen).unknown;
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    /// Waits for the child's end, and checks that the terminal is as it was before.
    #[track_caller]
    pub fn ended(mut self) -> ExitStatus {
        wait_until("it ends", || self.child.try_wait().unwrap().is_some());
        let status = self.child.wait().unwrap();
        wait_until("the terminal is as before", || {
            let screen = lock(&self.screen);
            !screen.is_alternate && !screen.is_cursor_hidden
        });
        let after = rustix::termios::tcgetattr(&self.slave).unwrap();
        assert_eq!(after.local_modes, self.before.local_modes);
        assert_eq!(after.input_modes, self.before.input_modes);
        assert_eq!(after.output_modes, self.before.output_modes);
        status
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It has ended, unless the test fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Screen {
    fn resize(&mut self, width: u16, height: u16) {
        (self.width, self.height) = (width.into(), height.into());
        self.clear();
    }

    fn clear(&mut self) {
        self.cells = vec![vec![' '; self.width]; self.height];
    }

    /// Takes as much of what was written as is whole.
    fn take(&mut self, rest: &mut Vec<u8>) {
        let whole = match std::str::from_utf8(rest) {
            Ok(_) => rest.len(),
            Err(error) => error.valid_up_to(),
        };
        let text = String::from_utf8_lossy(&rest[..whole]).into_owned();
        let mut left = &*text;
        while let Some(c) = left.chars().next() {
            if c != '\x1b' {
                self.put(c);
                left = &left[c.len_utf8()..];
                continue;
            }
            let is_end = |c: char| c.is_ascii_alphabetic() || c == '\x07';
            let Some(end) = left.find(is_end) else { break };
            self.control(&left[..=end]);
            left = &left[end + 1..];
        }
        let taken = whole - left.len();
        rest.drain(..taken);
    }

    fn put(&mut self, c: char) {
        match c {
            '\r' => self.column = 0,
            '\n' => self.row += 1,
            c if c.is_control() => self.unknown.push(format!("{c:?}")),
            c => {
                let cell = self.cells.get_mut(self.row).and_then(|row| row.get_mut(self.column));
                // Between two sizes it may draw where there is nothing any more.
                cell.into_iter().for_each(|cell| *cell = c);
                self.column += 1;
            }
        }
    }

    fn control(&mut self, sequence: &str) {
        let inner = sequence.strip_prefix("\x1b[");
        match (sequence, inner) {
            ("\x1b[?1049h", _) => self.is_alternate = true,
            ("\x1b[?1049l", _) => self.is_alternate = false,
            ("\x1b[?25l", _) => self.is_cursor_hidden = true,
            ("\x1b[?25h", _) => self.is_cursor_hidden = false,
            ("\x1b[2J", _) => self.clear(),
            (_, Some(inner)) if inner.ends_with('m') => {}
            (_, Some(inner)) if inner.ends_with('H') => {
                let place = inner.trim_end_matches('H');
                let (row, column) = place.split_once(';').unwrap_or((place, "1"));
                let number = |text: &str| text.parse::<usize>().map_or(0, |number| number - 1);
                (self.row, self.column) = (number(row), number(column));
            }
            _ => self.unknown.push(format!("{sequence:?}")),
        }
    }
}

fn winsize(width: u16, height: u16) -> Winsize {
    Winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 }
}

fn lock(screen: &Mutex<Screen>) -> MutexGuard<'_, Screen> {
    screen.lock().unwrap_or_else(PoisonError::into_inner)
}
