//! Failure of a command: one line that says what to do, and an exit code.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use netcluster_client::Error;

/// Exit codes, which a script can tell apart. `netcluster --help` documents them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Anything else.
    Failure = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// The command found no broker, or the connection to it ended.
    NoBroker = 3,
    /// Fewer events than asked for came in time.
    Timeout = 4,
    /// A broker runs already where one was to be started.
    AlreadyRunning = 5,
}

/// A command's failure.
#[derive(Debug)]
pub struct Failure {
    code: Code,
    /// Line that is printed; nothing if it is empty.
    message: String,
    passing: bool,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(code: Code, message: impl fmt::Display) -> Failure {
        Failure { code, message: message.to_string(), passing: false }
    }

    /// Makes the failure of what was typed or configured.
    pub fn usage(message: impl fmt::Display) -> Failure {
        Failure::new(Code::Usage, message)
    }

    /// Something did not work.
    pub fn other(message: impl fmt::Display) -> Failure {
        Failure::new(Code::Failure, message)
    }

    /// Standard output cannot be written. Whoever read it may just have had
    /// enough, as `head` does: that is no failure.
    pub fn output(error: &io::Error) -> Result<(), Failure> {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Ok(()),
            _ => Err(Failure::other(format_args!("cannot write to standard output: {error}"))),
        }
    }

    /// Puts words before the message.
    pub fn context(mut self, context: impl fmt::Display) -> Failure {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// Puts something to know behind the message.
    pub fn note(mut self, note: impl fmt::Display) -> Failure {
        self.message = format!("{} ({note})", self.message);
        self
    }

    /// Returns the line that is printed.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the exit code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Whether it is that there is no connection at the moment.
    pub fn is_passing(&self) -> bool {
        self.passing
    }

    /// Tells the user.
    pub fn print(&self) {
        if !self.message.is_empty() {
            super::output::notice(format_args!("error: {}", self.message));
        }
    }

    /// Exit code for the shell.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.number())
    }

    /// Exit code as a number.
    pub fn number(&self) -> u8 {
        self.code as u8
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let code = match &error {
            Error::Name(_)
            | Error::ChannelName(_)
            | Error::ClientName(_)
            | Error::Pattern(_)
            | Error::PatternRefused(_) => Code::Usage,
            Error::BrokerNotRunning { .. }
            | Error::NoneAnswers { .. }
            | Error::PermissionDenied { .. }
            | Error::UntrustedSocket { .. }
            | Error::Connect { .. }
            | Error::NotConnected
            | Error::Disconnected(_)
            | Error::ClosedByBroker { .. }
            | Error::Version(_)
            | Error::Protocol(_)
            | Error::Timeout { .. } => Code::NoBroker,
            _ => Code::Failure,
        };
        let passing = matches!(error, Error::NotConnected);
        if let Error::BrokerNotRunning { path, .. } = &error
            && is_something_else(path)
        {
            return Failure::usage(format_args!(
                "{} is not a socket: give the path of a broker's socket",
                path.display()
            ));
        }
        Failure { passing, ..Failure::new(code, error) }
    }
}

/// Whether a path is there and names no socket, so that no broker can be behind it.
#[cfg(unix)]
fn is_something_else(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;

    path.metadata().is_ok_and(|metadata| !metadata.file_type().is_socket())
}

/// A pipe of Windows is no file.
#[cfg(not(unix))]
fn is_something_else(_path: &Path) -> bool {
    false
}
