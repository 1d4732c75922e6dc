//! Lines of JSON over TCP: each of bounded length, in bounded time, and sealed once both
//! sides have proven who they are.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::seal::Seal;

/// Longest line, in bytes: plans of thousands of clients are long; nothing is longer.
pub const MAX_LINE_BYTES: u64 = 64 << 20;
/// Longest line before the other side has proven who it is, in bytes.
pub const MAX_HELLO_BYTES: u64 = 4 << 10;
/// Time after which a side that does not take what is written is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

const _: () = assert!(MAX_HELLO_BYTES < MAX_LINE_BYTES);

/// End of a connection that is read.
#[derive(Debug)]
pub struct Reader {
    stream: BufReader<TcpStream>,
    seal: Option<Seal>,
}

/// End of a connection that is written.
#[derive(Debug)]
pub struct Writer {
    stream: TcpStream,
    seal: Option<Seal>,
}

/// Splits a connection into both ends.
pub fn split(stream: TcpStream) -> Result<(Reader, Writer)> {
    // A line is sent when it is there.
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    let reader = BufReader::new(stream.try_clone()?);
    Ok((Reader { stream: reader, seal: None }, Writer { stream, seal: None }))
}

impl Reader {
    /// Reads the next line; `None` at the end of the connection.
    ///
    /// # Errors
    /// If the line has not come whole in time, is too long, or is not what is expected.
    pub fn read<T: DeserializeOwned>(
        &mut self,
        max_bytes: u64,
        timeout: Duration,
    ) -> Result<Option<T>> {
        let deadline = Instant::now() + timeout;
        let mut line = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            ensure!(!left.is_zero(), "nothing came for {timeout:?}");
            self.stream.get_ref().set_read_timeout(Some(left))?;
            let came = match self.stream.fill_buf() {
                Ok(came) => came,
                Err(error) if is_timeout(&error) => continue,
                Err(error) if is_gone(&error) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            if came.is_empty() {
                return Ok(None);
            }
            let end = came.iter().position(|byte| *byte == b'\n');
            let used = end.map_or(came.len(), |end| end + 1);
            line.extend_from_slice(&came[..used]);
            self.stream.consume(used);
            ensure!(line.len() as u64 <= max_bytes, "a line of more than {max_bytes} bytes");
            if end.is_some() {
                break;
            }
        }
        let json = match &mut self.seal {
            Some(seal) => seal.open(line.strip_suffix(b"\n").unwrap_or(&line))?,
            None => &line,
        };
        serde_json::from_slice(json).map(Some).context("not a line of this protocol")
    }

    /// Expects sealed lines from now on.
    pub fn seal(&mut self, seal: Seal) {
        self.seal = Some(seal);
    }
}

impl Writer {
    /// Writes a line.
    ///
    /// # Errors
    /// If the other side is gone.
    pub fn write(&mut self, value: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(value)?;
        if let Some(seal) = &mut self.seal {
            line.splice(0..0, seal.mac(&line).into_bytes());
        }
        line.push(b'\n');
        self.stream.write_all(&line).context("the connection broke")
    }

    /// Seals lines from now on.
    pub fn seal(&mut self, seal: Seal) {
        self.seal = Some(seal);
    }

    /// Ends the connection, for the reader too.
    pub fn shut_down(&self) {
        // It may have ended before.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

fn is_timeout(error: &io::Error) -> bool {
    let again = [ErrorKind::WouldBlock, ErrorKind::TimedOut, ErrorKind::Interrupted];
    again.contains(&error.kind())
}

fn is_gone(error: &io::Error) -> bool {
    let gone = [ErrorKind::ConnectionReset, ErrorKind::ConnectionAborted, ErrorKind::BrokenPipe];
    gone.contains(&error.kind())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn pair() -> (TcpStream, Reader) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (there, _) = listener.accept().unwrap();
        (here, split(there).unwrap().0)
    }

    #[test]
    fn lines_come_whole_and_in_order_until_the_end() {
        let (mut here, mut there) = pair();
        here.write_all(b"1\n2\n3").unwrap();
        drop(here);
        assert_eq!(there.read::<u32>(100, SOON).unwrap(), Some(1));
        assert_eq!(there.read::<u32>(100, SOON).unwrap(), Some(2));
        assert_eq!(there.read::<u32>(100, SOON).unwrap(), None);
    }

    #[test]
    fn long_lines_nonsense_and_silence_are_errors() {
        let (mut here, mut there) = pair();
        here.write_all(&[b'x'; 200]).unwrap();
        let error = there.read::<u32>(100, SOON).unwrap_err();
        assert!(error.to_string().contains("more than 100 bytes"));
        let (mut here, mut there) = pair();
        here.write_all(b"hello\n").unwrap();
        assert!(there.read::<u32>(100, SOON).is_err());
        let error = there.read::<u32>(100, Duration::from_millis(1)).unwrap_err();
        assert!(error.to_string().contains("nothing came"));
    }
}
