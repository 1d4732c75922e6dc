//! `serve --metrics`: what Prometheus and whoever looks after a broker ask it by HTTP.
//!
//! ```text
//!   GET /metrics, /healthz, /readyz ─▶ http ─▶ this ─▶ a client of the own broker ─▶ text
//! ```
//! - `http`: as much of HTTP/1.1 as that takes, on threads of its own.
//! - `text`: a status as Prometheus's text.
//!
//! It asks as any client does, for totals and a few channels: what it costs the shards does
//! not grow with what is scraped of it, and who asks twice at a time waits.
//!
//! Decision: `docs/decisions/072-metrics-by-a-client.md`.

mod http;
mod text;

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use netcluster::status::Status;
use netcluster_client::{Client, Error, Lifecycle, Reconnect};

use super::clients::ChannelsPage;
use super::failure::Failure;
use super::values::read_from_file;

use http::Response;

/// Channels that have metrics of their own; the others are one.
const CHANNELS: usize = 50;

/// Place where metrics are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricsAddress {
    /// A port of TCP.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl FromStr for MetricsAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<MetricsAddress, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err("unix: needs a path".to_owned()),
                _ if cfg!(not(unix)) => Err("Unix sockets are not served here".to_owned()),
                path => Ok(MetricsAddress::Unix(path.into())),
            };
        }
        if let Ok(port) = text.parse() {
            let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
            return Ok(MetricsAddress::Tcp(SocketAddr::new(loopback, port)));
        }
        let address = text.parse().map(MetricsAddress::Tcp);
        address.map_err(|_| "write PORT (of the loopback), ADDRESS:PORT or unix:PATH".to_owned())
    }
}

impl fmt::Display for MetricsAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MetricsAddress::Tcp(address) => address.fmt(formatter),
            MetricsAddress::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

read_from_file! {
    MetricsAddress, numbers: true;
}

/// Serves the metrics of the broker at this socket from now on.
pub fn start(address: &MetricsAddress, broker: &Path) -> Result<(), Failure> {
    let scraper = Arc::new(Scraper::new(broker));
    let answer = move |path: &str| scraper.answer(path);
    let place = match address {
        MetricsAddress::Tcp(address) => {
            let listener = TcpListener::bind(address).map_err(|error| cannot(address, &error))?;
            let address = listener.local_addr().map_err(|error| cannot(address, &error))?;
            if !address.ip().is_loopback() {
                tracing::warn!(
                    "metrics are for everybody who reaches {address}: names of channels are \
                     among them"
                );
            }
            http::serve_tcp(listener, answer).map(|()| address.to_string())
        }
        #[cfg(unix)]
        MetricsAddress::Unix(path) => {
            let listener = bind_unix(path).map_err(|error| cannot(path.display(), &error))?;
            http::serve_unix(listener, answer).map(|()| format!("unix:{}", path.display()))
        }
        #[cfg(not(unix))]
        MetricsAddress::Unix(path) => Err(io::Error::other(path.display().to_string())),
    };
    let place = place.map_err(|error| cannot("a thread", &error))?;
    tracing::info!("metrics at {place}/metrics");
    Ok(())
}

fn cannot(place: impl fmt::Display, error: &io::Error) -> Failure {
    Failure::other(format_args!("cannot serve metrics at {place}: {error}"))
}

/// Binds a socket, in the place of one that nobody listens at any more. Another file stays.
#[cfg(unix)]
fn bind_unix(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    use std::os::unix::fs::FileTypeExt;
    use std::os::unix::net::{UnixListener, UnixStream};

    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            // The system refuses connections to files of any kind alike.
            if !path.symlink_metadata()?.file_type().is_socket() {
                return Err(io::Error::other("something is there that is no socket; move it away"));
            }
            let left = UnixStream::connect(path);
            if left.is_err_and(|it| it.kind() == io::ErrorKind::ConnectionRefused) {
                std::fs::remove_file(path)?;
                return UnixListener::bind(path);
            }
            Err(error)
        }
        bound => bound,
    }
}

/// Asker of the own broker.
struct Scraper {
    broker: PathBuf,
    /// Connection, once there was a question; one question at a time.
    client: Mutex<Option<Client>>,
    is_draining: Arc<AtomicBool>,
}

impl Scraper {
    fn new(broker: &Path) -> Scraper {
        let is_draining = Arc::default();
        Scraper { broker: broker.to_owned(), client: Mutex::new(None), is_draining }
    }

    fn answer(&self, path: &str) -> Response {
        match path {
            "/metrics" => match self.scrape() {
                Ok(text) => Response { code: 200, kind: text::CONTENT_TYPE, body: text },
                Err(error) => unwell(&error),
            },
            "/healthz" => match self.ask(r#"{"do":"totals"}"#) {
                Ok(_) => Response::text(200, "ok\n"),
                Err(error) => unwell(&error),
            },
            "/readyz" => match self.ask(r#"{"do":"totals"}"#) {
                Ok(_) if self.is_draining.load(Ordering::Relaxed) => {
                    Response::text(503, "the broker will end soon\n")
                }
                Ok(_) => Response::text(200, "ready\n"),
                Err(error) => unwell(&error),
            },
            _ => Response::text(404, "there are /metrics, /healthz and /readyz\n"),
        }
    }

    fn scrape(&self) -> Result<String, Error> {
        let began = Instant::now();
        let unreadable = |error: serde_json::Error| Error::Protocol(error.to_string());
        let totals = self.ask(r#"{"do":"totals"}"#)?;
        let channels = self.ask(&format!(r#"{{"do":"channels","limit":{CHANNELS}}}"#))?;
        let status: Status = serde_json::from_str(&totals).map_err(unreadable)?;
        let channels: ChannelsPage = serde_json::from_str(&channels).map_err(unreadable)?;
        Ok(text::metrics(&status, &channels, began.elapsed()))
    }

    /// Asks the broker, by a connection that is made anew if the last one broke.
    fn ask(&self, request: &str) -> Result<String, Error> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        let connected = match client.take() {
            Some(connected) if !connected.is_closed() => connected,
            _ => self.connect()?,
        };
        let answer = connected.control(request)?;
        *client = Some(connected);
        Ok(answer)
    }

    fn connect(&self) -> Result<Client, Error> {
        let builder = Client::builder().name("netcluster metrics");
        let client = builder.reconnect(Reconnect::Never).max_payload(0).connect(&self.broker)?;
        let is_draining = Arc::clone(&self.is_draining);
        client.on_lifecycle(move |event| {
            if let Lifecycle::Error(Error::Draining(_)) = event {
                is_draining.store(true, Ordering::Relaxed);
            }
        });
        Ok(client)
    }
}

/// Says that the broker does not answer as it should.
fn unwell(error: &Error) -> Response {
    Response::text(503, &format!("the broker does not answer: {error}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_of_the_loopback() {
        let parse = |text: &str| text.parse::<MetricsAddress>();
        let tcp = |text: &str| Ok(MetricsAddress::Tcp(text.parse().unwrap()));
        assert_eq!(parse("9464"), tcp("127.0.0.1:9464"));
        assert_eq!(parse("0.0.0.0:9464"), tcp("0.0.0.0:9464"));
        assert_eq!(parse("[::1]:9464"), tcp("[::1]:9464"));
        if cfg!(unix) {
            assert_eq!(parse("unix:/run/m"), Ok(MetricsAddress::Unix("/run/m".into())));
        }
        for bad in ["", "unix:", "localhost", "70000", "1.2.3.4"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
