//! A server that is no broker: what it says is up to the scenario.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Error, Result};

use super::Wire;

/// A server that lies. Dropping it ends it; connections end with their scripts.
pub struct Liar {
    socket: PathBuf,
    ending: Arc<AtomicBool>,
    failures: Arc<Mutex<Vec<Error>>>,
}

impl Liar {
    /// Listens on this socket and does for each connection, with its number from 0 on, what
    /// the script says.
    ///
    /// # Errors
    /// The system's.
    pub fn start(
        socket: &Path,
        script: impl Fn(usize, Wire) -> Result<()> + Send + Sync + 'static,
    ) -> Result<Liar> {
        let _ = std::fs::remove_file(socket);
        let listener = UnixListener::bind(socket)?;
        let liar =
            Liar { socket: socket.to_owned(), ending: Arc::default(), failures: Arc::default() };
        let (ending, failures) = (Arc::clone(&liar.ending), Arc::clone(&liar.failures));
        let script = Arc::new(script);
        thread::spawn(move || {
            for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                if ending.load(Ordering::SeqCst) {
                    return;
                }
                let (script, failures) = (Arc::clone(&script), Arc::clone(&failures));
                thread::spawn(move || {
                    let ended = Wire::accepted(stream).and_then(|wire| script(number, wire));
                    if let Err(error) = ended {
                        failures.lock().unwrap_or_else(PoisonError::into_inner).push(error);
                    }
                });
            }
        });
        Ok(liar)
    }

    /// The path of its socket.
    ///
    /// # Panics
    /// It is no text; the stage's are.
    #[must_use]
    pub fn socket(&self) -> &str {
        self.socket.to_str().expect("a text")
    }

    /// How scripts failed so far.
    #[must_use]
    pub fn failures(&self) -> String {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let texts: Vec<String> = failures.iter().map(|error| format!("{error:#}")).collect();
        texts.join("; ")
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        let _ = UnixStream::connect(&self.socket);
        let _ = std::fs::remove_file(&self.socket);
    }
}
