//! Child process whose output is gathered, and which ends with its test.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::PATIENCE;
use super::system::{self, Signal};

/// Child whose standard error a thread reads as it comes; its standard output waits until
/// it is asked for.
pub struct Process {
    child: Mutex<Child>,
    name: String,
    notices: Arc<Notices>,
    reader: Option<JoinHandle<()>>,
    stdout: Option<BufReader<ChildStdout>>,
}

#[derive(Default)]
struct Notices {
    text: Mutex<(String, bool)>,
    changed: Condvar,
}

/// End of a child: its exit code and output.
#[derive(Debug)]
pub struct Done {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Done {
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    #[track_caller]
    pub fn succeeded(self) -> Done {
        assert!(self.status.success(), "{self:?}");
        self
    }

    /// Checks that the child failed with this code, and that its error says this.
    #[track_caller]
    pub fn failed(self, code: i32, words: &str) -> Done {
        assert_eq!(self.code(), Some(code), "{self:?}");
        assert!(self.stderr.contains("error: "), "{self:?}");
        assert!(self.stderr.contains(words), "{words:?} is not in {self:?}");
        self
    }
}

impl Process {
    pub fn start(mut command: Command) -> Process {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Process::spawn(command)
    }

    /// Starts a child whose standard error nobody reads.
    pub fn start_unread(command: Command) -> Process {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Process::start_telling(command, writer)
    }

    /// Starts a child whose standard error goes somewhere else.
    pub fn start_telling(mut command: Command, stderr: impl Into<Stdio>) -> Process {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        Process::spawn(command)
    }

    /// Starts a child and writes its standard input, from a thread of its own.
    pub fn start_with_input(mut command: Command, input: impl Into<Vec<u8>>) -> Process {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let process = Process::spawn(command);
        let mut stdin = process.lock().stdin.take().unwrap();
        let input = input.into();
        // It may end before it has read everything.
        thread::spawn(move || stdin.write_all(&input).ok());
        process
    }

    /// Starts a child whose standard input the test writes as it goes.
    pub fn start_with_pipe(mut command: Command) -> (Process, ChildStdin) {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let process = Process::spawn(command);
        let stdin = process.lock().stdin.take().unwrap();
        (process, stdin)
    }

    fn spawn(command: Command) -> Process {
        Process::spawn_by(command, Command::spawn)
    }

    /// Starts a child in another way than by its own command alone.
    pub fn start_by(
        mut command: Command,
        spawn: impl FnOnce(&mut Command) -> std::io::Result<Child>,
    ) -> Process {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Process::spawn_by(command, spawn)
    }

    fn spawn_by(
        mut command: Command,
        spawn: impl FnOnce(&mut Command) -> std::io::Result<Child>,
    ) -> Process {
        let name = format!("{command:?}");
        let mut child = spawn(&mut command).unwrap_or_else(|error| panic!("{name}: {error}"));
        let notices = Arc::new(Notices::default());
        let stdout = child.stdout.take().map(BufReader::new);
        let reader = child.stderr.take().map(|stderr| {
            let gathered = Arc::clone(&notices);
            thread::spawn(move || gathered.gather(BufReader::new(stderr)))
        });
        Process { child: Mutex::new(child), name, notices, reader, stdout }
    }

    fn lock(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn pid(&self) -> u32 {
        self.lock().id()
    }

    pub fn signal(&self, signal: Signal) {
        system::signal(&mut self.lock(), signal);
    }

    /// Waits for these words on standard error.
    #[track_caller]
    pub fn wait_for_notice(&self, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        let mut text = self.notices.text.lock().unwrap();
        while !text.0.contains(words) {
            let wait = deadline.saturating_duration_since(Instant::now());
            let over = text.1 || wait.is_zero();
            assert!(!over, "no {words:?} from {}:\n{}", self.name, text.0);
            text = self.notices.changed.wait_timeout(text, wait).unwrap().0;
        }
    }

    /// Returns what came on standard error so far.
    pub fn notices(&self) -> String {
        // Whoever failed while it waited for one wants to see them all.
        self.notices.text.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Takes the next line of standard output, without its end.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.as_mut().unwrap().read_line(&mut line).unwrap();
        line.strip_suffix('\n').unwrap_or(&line).to_owned()
    }

    /// Closes the child's standard output, which nobody reads any more.
    pub fn close_stdout(&mut self) {
        self.stdout = None;
    }

    /// Reads the child's standard output from now on, and does not keep it.
    pub fn discard_stdout(&mut self) {
        let mut stdout = self.stdout.take().unwrap();
        thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    }

    pub fn is_running(&self) -> bool {
        self.lock().try_wait().unwrap().is_none()
    }

    /// Waits for the child's end, reading its output.
    #[track_caller]
    pub fn finish(mut self) -> Done {
        let stdout = self.stdout.take();
        let stdout = thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(mut stdout) = stdout {
                stdout.read_to_end(&mut bytes).unwrap();
            }
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let status = self.wait();
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        Done { status, stdout: stdout.join().unwrap(), stderr: self.notices() }
    }

    #[track_caller]
    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.lock().try_wait().unwrap() {
                return status;
            }
            let waited = Instant::now() >= deadline;
            assert!(!waited, "{} does not end:\n{}", self.name, self.notices());
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.lock().kill();
        let _ = self.lock().wait();
    }
}

impl Notices {
    fn gather(&self, mut stderr: impl BufRead) {
        let mut line = Vec::new();
        while stderr.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            self.text.lock().unwrap().0.push_str(&String::from_utf8_lossy(&line));
            self.changed.notify_all();
            line.clear();
        }
        self.text.lock().unwrap().1 = true;
        self.changed.notify_all();
    }
}
