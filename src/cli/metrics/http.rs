//! Part of HTTP/1.1 that a scrape takes: GET and HEAD without a body, one request a
//! connection.
//!
//! Whoever connects has so much time in all to say a short request and to take the answer,
//! whatever he sends meanwhile, and only so many are served at a time: who comes then takes
//! the place of the one that has said nothing whole for the longest time. So many slow ones,
//! however often they come again, keep nobody out who asks at once.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::net::{TcpListener, TcpStream};
#[cfg(unix)]
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Connections that are served at a time.
const MAX_CONNECTIONS: usize = 16;

/// Longest request, in bytes.
const MAX_REQUEST_BYTES: usize = 8 << 10;

/// Most headers of a request.
const MAX_HEADERS: usize = 64;

/// Time from the start of a connection to its end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Most that is read behind a request, so that the answer is not lost with it.
const MAX_REST_BYTES: usize = 256 << 10;

/// Pause after the system refused a connection.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// An answer.
pub struct Response {
    /// Number of the status.
    pub code: u16,
    /// Type of the body.
    pub kind: &'static str,
    /// Body.
    pub body: String,
}

impl Response {
    /// Makes an answer of plain text.
    pub fn text(code: u16, body: &str) -> Response {
        Response { code, kind: "text/plain; charset=utf-8", body: body.to_owned() }
    }
}

/// A connection whose waits can be bounded, and ended by another thread.
trait Connection: Read + Write + Send + Sized + 'static {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()>;
    fn shut(&self, what: Shutdown) -> io::Result<()>;
    fn second(&self) -> io::Result<Self>;
}

macro_rules! connection {
    ($stream:ty) => {
        impl Connection for $stream {
            fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
                self.set_read_timeout(Some(timeout))?;
                self.set_write_timeout(Some(timeout))
            }

            fn shut(&self, what: Shutdown) -> io::Result<()> {
                self.shutdown(what)
            }

            fn second(&self) -> io::Result<Self> {
                self.try_clone()
            }
        }
    };
}

connection!(TcpStream);
#[cfg(unix)]
connection!(UnixStream);

/// Serves whoever connects to a port, on threads of their own.
pub fn serve_tcp<F>(listener: TcpListener, answer: F) -> io::Result<()>
where
    F: Fn(&str) -> Response + Send + Sync + 'static,
{
    serve(move || listener.accept().map(|(connection, _)| connection), answer)
}

/// Serves whoever connects to a Unix socket, on threads of their own.
#[cfg(unix)]
pub fn serve_unix<F>(listener: UnixListener, answer: F) -> io::Result<()>
where
    F: Fn(&str) -> Response + Send + Sync + 'static,
{
    serve(move || listener.accept().map(|(connection, _)| connection), answer)
}

fn serve<C, A, F>(accept: A, answer: F) -> io::Result<()>
where
    C: Connection,
    A: Fn() -> io::Result<C> + Send + 'static,
    F: Fn(&str) -> Response + Send + Sync + 'static,
{
    let (answer, crowd) = (Arc::new(answer), Arc::new(Crowd::default()));
    let run = move || {
        loop {
            match accept() {
                Ok(connection) => take_in(connection, &answer, &crowd),
                Err(_) => thread::sleep(REFUSED_PAUSE),
            }
        }
    };
    thread::Builder::new().name("metrics".into()).spawn(run).map(drop)
}

/// Serves one connection on a thread, if there are not too many.
fn take_in<C, F>(mut connection: C, answer: &Arc<F>, crowd: &Arc<Crowd<C>>)
where
    C: Connection,
    F: Fn(&str) -> Response + Send + Sync + 'static,
{
    let Some(seat) = connection.second().ok().and_then(|second| crowd.sit_down(second)) else {
        // It fits the socket's buffer, or is not sent.
        let _ = connection.set_timeout(Duration::from_millis(1));
        let _ = write(&mut connection, &Response::text(503, "too many connections\n"), true);
        return;
    };
    let answer = Arc::clone(answer);
    let run = move || {
        // Who is gone, or too slow, is told nothing.
        let _ = serve_one(&mut connection, &seat, &*answer);
    };
    // Without a thread the connection is closed.
    let _ = thread::Builder::new().name("metrics-one".into()).spawn(run);
}

/// Connections that are served.
struct Crowd<C> {
    seats: Mutex<Seats<C>>,
}

struct Seats<C> {
    /// Seats by their numbers, the oldest first. One whose request is being answered has no
    /// connection to be ended by.
    taken: BTreeMap<u64, Option<C>>,
    next: u64,
}

impl<C> Default for Crowd<C> {
    fn default() -> Crowd<C> {
        Crowd { seats: Mutex::new(Seats { taken: BTreeMap::new(), next: 0 }) }
    }
}

impl<C> Crowd<C> {
    fn lock(&self) -> MutexGuard<'_, Seats<C>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Connection> Crowd<C> {
    /// Gives a connection a seat, if need be that of the one that has waited longest; none
    /// if all are being answered.
    fn sit_down(self: &Arc<Crowd<C>>, connection: C) -> Option<Seat<C>> {
        let mut seats = self.lock();
        if seats.taken.len() >= MAX_CONNECTIONS {
            let oldest =
                seats.taken.iter().find_map(|(number, it)| it.is_some().then_some(*number));
            // Its thread ends by that.
            let left = seats.taken.remove(&oldest?).flatten();
            left.into_iter().for_each(|it| drop(it.shut(Shutdown::Both)));
        }
        let number = seats.next;
        seats.next += 1;
        seats.taken.insert(number, Some(connection));
        Some(Seat { crowd: Arc::clone(self), number })
    }
}

/// Place among the connections that are served.
struct Seat<C> {
    crowd: Arc<Crowd<C>>,
    number: u64,
}

impl<C> Seat<C> {
    /// Keeps the seat while the request is answered.
    fn keep(&self) {
        self.crowd.lock().taken.entry(self.number).and_modify(|it| *it = None);
    }

    /// Leaves the seat to others, if they want it.
    fn offer(&self, connection: C) {
        self.crowd.lock().taken.entry(self.number).and_modify(|it| *it = Some(connection));
    }
}

impl<C> Drop for Seat<C> {
    fn drop(&mut self) {
        self.crowd.lock().taken.remove(&self.number);
    }
}

fn serve_one<C: Connection>(
    connection: &mut C,
    seat: &Seat<C>,
    answer: &(impl Fn(&str) -> Response + ?Sized),
) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut request = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        bound(connection, deadline)?;
        let count = connection.read(&mut chunk)?;
        request.extend_from_slice(&chunk[..count]);
        let (response, has_body) = match read(&request) {
            Ok(Some(Request { path, has_body })) => {
                seat.keep();
                let response = answer(&path);
                seat.offer(connection.second()?);
                (response, has_body)
            }
            Ok(None) if count == 0 => return Ok(()),
            Ok(None) if request.len() > MAX_REQUEST_BYTES => {
                (Response::text(431, "the request is too long\n"), true)
            }
            Ok(None) => continue,
            Err(response) => (response, true),
        };
        bound(connection, deadline)?;
        write(connection, &response, has_body)?;
        return read_rest(connection, deadline);
    }
}

/// Reads what comes behind a request: the system takes back an answer to who has said more
/// than was read.
fn read_rest<C: Connection>(connection: &mut C, deadline: Instant) -> io::Result<()> {
    connection.shut(Shutdown::Write)?;
    let (mut chunk, mut left) = ([0; 4096], MAX_REST_BYTES);
    while left > 0 {
        bound(connection, deadline)?;
        match connection.read(&mut chunk)? {
            0 => break,
            count => left = left.saturating_sub(count),
        }
    }
    Ok(())
}

/// Lets the next wait end with the connection's time.
fn bound<C: Connection>(connection: &C, deadline: Instant) -> io::Result<()> {
    match deadline.checked_duration_since(Instant::now()) {
        Some(left) if !left.is_zero() => connection.set_timeout(left),
        _ => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// A request that is understood.
#[derive(Debug)]
struct Request {
    path: String,
    /// The answer is to have its body.
    has_body: bool,
}

/// Reads a request; none until it is whole.
fn read(bytes: &[u8]) -> Result<Option<Request>, Response> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Partial) => return Ok(None),
        Ok(httparse::Status::Complete(_)) => {}
        Err(_) => return Err(Response::text(400, "this is no request of HTTP/1.1\n")),
    }
    let has_body = match request.method {
        Some("GET") => true,
        Some("HEAD") => false,
        _ => return Err(Response::text(405, "only GET and HEAD are understood\n")),
    };
    let target = request.path.unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default().to_owned();
    Ok(Some(Request { path, has_body }))
}

fn write(out: &mut impl Write, response: &Response, has_body: bool) -> io::Result<()> {
    let Response { code, kind, body } = response;
    let reason = match code {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        431 => "Request Header Fields Too Large",
        _ => "Service Unavailable",
    };
    let head = format!(
        "HTTP/1.1 {code} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    let body = if has_body { body } else { "" };
    out.write_all([head.as_bytes(), body.as_bytes()].concat().as_slice())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_whole_and_the_query_does_not_count() {
        let request = b"GET /metrics?x=1 HTTP/1.1\r\nHost: here\r\n\r\n";
        for length in 0..request.len() {
            assert!(matches!(read(&request[..length]), Ok(None)), "{length}");
        }
        let whole = read(request).ok().flatten().unwrap();
        assert_eq!((whole.path.as_str(), whole.has_body), ("/metrics", true));
        let head = read(b"HEAD /healthz HTTP/1.0\r\n\r\n").ok().flatten().unwrap();
        assert!(!head.has_body);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let code = |bytes: &[u8]| read(bytes).err().map(|response| response.code);
        assert_eq!(code(b"POST /metrics HTTP/1.1\r\n\r\n"), Some(405));
        assert_eq!(code(b"\x16\x03\x01\x02\x00\r\n\r\n"), Some(400));
        let many = "a: b\r\n".repeat(MAX_HEADERS + 1);
        assert_eq!(code(format!("GET / HTTP/1.1\r\n{many}\r\n").as_bytes()), Some(400));
    }
}
