//! Part of HTTP/1.1 that a scrape takes: GET and HEAD without a body, one request a
//! connection.
//!
//! Whoever connects has so much time in all to say a short request and to take the answer,
//! whatever he sends meanwhile, and only so many are served at a time: slow ones are cut
//! off, and keep nobody waiting for longer than that.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
#[cfg(unix)]
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Connections that are served at a time; those beyond it are told to come again.
const MAX_CONNECTIONS: usize = 16;

/// Longest request, in bytes.
const MAX_REQUEST_BYTES: usize = 8 << 10;

/// Most headers of a request.
const MAX_HEADERS: usize = 64;

/// Time from the start of a connection to its end.
const PATIENCE: Duration = Duration::from_secs(5);

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

/// A connection whose waits can be bounded.
trait Connection: Read + Write + Send + 'static {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()>;
}

impl Connection for TcpStream {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(timeout))?;
        self.set_write_timeout(Some(timeout))
    }
}

#[cfg(unix)]
impl Connection for UnixStream {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(timeout))?;
        self.set_write_timeout(Some(timeout))
    }
}

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
    let (answer, served) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
    let run = move || {
        loop {
            match accept() {
                Ok(connection) => take_in(connection, &answer, &served),
                Err(_) => thread::sleep(REFUSED_PAUSE),
            }
        }
    };
    thread::Builder::new().name("metrics".into()).spawn(run).map(drop)
}

/// Serves one connection on a thread, if there are not too many.
fn take_in<C, F>(mut connection: C, answer: &Arc<F>, served: &Arc<AtomicUsize>)
where
    C: Connection,
    F: Fn(&str) -> Response + Send + Sync + 'static,
{
    if served.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
        served.fetch_sub(1, Ordering::Relaxed);
        // It fits the socket's buffer, or is not sent.
        let _ = connection.set_timeout(Duration::from_millis(1));
        let _ = write(&mut connection, &Response::text(503, "too many connections\n"), true);
        return;
    }
    let seat = Seat(Arc::clone(served));
    let answer = Arc::clone(answer);
    let run = move || {
        let _seat = seat;
        // Who is gone, or too slow, is told nothing.
        let _ = serve_one(&mut connection, &*answer);
    };
    // Without a thread the connection is closed.
    let _ = thread::Builder::new().name("metrics-one".into()).spawn(run);
}

/// Place among the connections that are served.
struct Seat(Arc<AtomicUsize>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn serve_one<C: Connection>(
    connection: &mut C,
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
            Ok(Some(Request { path, has_body })) => (answer(&path), has_body),
            Ok(None) if count == 0 => return Ok(()),
            Ok(None) if request.len() > MAX_REQUEST_BYTES => {
                (Response::text(431, "the request is too long\n"), true)
            }
            Ok(None) => continue,
            Err(response) => (response, true),
        };
        bound(connection, deadline)?;
        return write(connection, &response, has_body);
    }
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
