//! The driver of the Rust client: does what the lines of its standard input tell it, and
//! reports on its standard output. `README.md` is the protocol of these lines.

mod listening;
mod output;

use std::collections::HashMap;
use std::io::{self, BufRead};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine};
use netcluster_client::{Client, Encoding, Error, ErrorKind, QueuePolicy, Reconnect};
use serde_json::{Value, json};

use listening::Listening;
use output::{Output, error_object, lifecycle};

/// Capabilities of this driver.
const CAPABILITIES: [&str; 9] = [
    "latest",
    "pull",
    "prepend",
    "throw",
    "off-inside",
    "confirmed",
    "max-payload",
    "status",
    "audience",
];

/// Longest time for which `emit_many` waits for room.
const PATIENCE: Duration = Duration::from_secs(20);

/// Pause before an event that there was no room for is emitted again.
const PAUSE: Duration = Duration::from_millis(2);

/// Runs the driver until its input ends.
///
/// # Errors
/// The input cannot be read.
pub fn run() -> io::Result<()> {
    // What a listener throws on purpose is no news.
    std::panic::set_hook(Box::new(|_| {}));
    let mut driver = Driver::default();
    driver.output.write(&json!({ "driver": "rust", "capabilities": CAPABILITIES }));
    for line in io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?).unwrap_or_default();
        let mut answer = match driver.carry_out(&request) {
            Ok(ok) => json!({ "ok": ok }),
            Err(failure) => json!({ "error": failure.0 }),
        };
        answer["id"] = request["id"].clone();
        driver.output.write(&answer);
    }
    Ok(())
}

/// The reason why a request was not carried out, as it is told.
struct Failure(Value);

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure(error_object(&error))
    }
}

fn unsupported(what: &str) -> Failure {
    Failure(json!({ "code": "UNSUPPORTED", "message": what }))
}

#[derive(Default)]
struct Driver {
    output: Output,
    client: Option<Client>,
    connected: Arc<AtomicBool>,
    listeners: HashMap<String, Listening>,
}

impl Driver {
    fn carry_out(&mut self, request: &Value) -> Result<Value, Failure> {
        let text = |key: &str| request[key].as_str().unwrap_or_default();
        match text("do") {
            "connect" => self.connect(request),
            "on" => self.listen(request, false),
            "subscribe" => self.listen(request, true),
            "off" => {
                let listening = self.listeners.remove(text("listener"));
                let client = self.client()?;
                Ok(json!({ "removed": listening.is_some_and(|it| it.end(client)) }))
            }
            "emit" => self.emit(request),
            "emit_many" => self.emit_many(request),
            "flush" => Ok(self.client()?.flush().map(|()| json!({}))?),
            "ping" => Ok(self.client()?.ping().map(|_| json!({}))?),
            "disconnect" => Ok(self.client()?.disconnect().map(|()| json!({}))?),
            "state" => self.state(),
            "status" => {
                let status = self.client()?.status()?;
                let status: Value = serde_json::from_str(&status).unwrap_or_default();
                Ok(json!({ "status": status }))
            }
            "audience" => {
                let audience = self.client()?.audience(text("event"))?;
                Ok(json!({ "clients": audience.clients, "brokers": audience.brokers }))
            }
            other => Err(unsupported(other)),
        }
    }

    fn client(&self) -> Result<&Client, Failure> {
        self.client.as_ref().ok_or_else(|| unsupported("there is no client"))
    }

    fn connect(&mut self, request: &Value) -> Result<Value, Failure> {
        self.listeners.clear();
        self.client = None;
        let text =
            |key: &str, default: &'static str| request[key].as_str().unwrap_or(default).to_owned();
        let millis = |key: &str| Duration::from_millis(request[key].as_u64().unwrap_or(5000));
        let is = |key: &str, default: bool| request[key].as_bool().unwrap_or(default);
        let policy = if is("latest", false) { QueuePolicy::Latest } else { QueuePolicy::default() };
        let reconnect = if is("reconnect", true) { Reconnect::default() } else { Reconnect::Never };
        let (output, connected) = (self.output.clone(), Arc::default());
        self.connected = Arc::clone(&connected);
        let client = Client::builder()
            .channel(text("channel", "default"))
            .name(text("name", "driver"))
            .echo(is("echo", false))
            .queue(policy)
            .max_queue(request["max_queue"].as_u64().unwrap_or(0))
            .reconnect(reconnect)
            .connect_timeout(millis("timeout_ms"))
            .disconnect_timeout(millis("disconnect_timeout_ms"))
            .on_lifecycle(move |happened| lifecycle(&output, &connected, happened))
            .connect(text("socket", ""))?;
        let source = client.source().to_string();
        self.connected.store(true, Ordering::SeqCst);
        self.client = Some(client);
        Ok(json!({ "source": source }))
    }

    fn listen(&mut self, request: &Value, pulls: bool) -> Result<Value, Failure> {
        let client = self.client()?;
        let listening = if pulls {
            Listening::pull(client, request, &self.output)?
        } else {
            Listening::begin(client, request, &self.output)?
        };
        let name = request["listener"].as_str().unwrap_or_default();
        self.listeners.insert(name.to_owned(), listening);
        Ok(json!({}))
    }

    fn emit(&self, request: &Value) -> Result<Value, Failure> {
        let client = self.client()?;
        let event = request["event"].as_str().unwrap_or_default();
        let size = request["size"].as_u64().map(|size| vec![b'x'; size as usize]);
        let encoding = request["encoding"].as_str().unwrap_or("bytes");
        match (encoding, size) {
            (encoding, Some(payload)) => {
                let encoding = Encoding::from_name(encoding);
                let encoding = encoding.ok_or_else(|| unsupported("encoding"))?;
                client.emit_encoded(event, encoding, payload)?;
            }
            ("text", _) => client.emit_text(event, request["text"].as_str().unwrap_or_default())?,
            ("json", _) => client.emit_json(event, &request["value"])?,
            ("bytes", _) => {
                let data = BASE64_STANDARD.decode(request["data"].as_str().unwrap_or_default());
                client.emit(event, data.map_err(|_| unsupported("base64"))?)?;
            }
            (other, _) => return Err(unsupported(other)),
        }
        Ok(json!({}))
    }

    fn emit_many(&self, request: &Value) -> Result<Value, Failure> {
        let client = self.client()?;
        let event = request["event"].as_str().unwrap_or_default();
        let number = |key: &str| request[key].as_u64().unwrap_or(0);
        let (first, count, size) = (number("first"), number("count"), number("size") as usize);
        let deadline = Instant::now() + PATIENCE;
        for accepted in 0..count {
            let text = format!("{:<size$}", first + accepted);
            while let Err(error) = client.emit_text(event, &text) {
                let passes =
                    matches!(error.kind(), ErrorKind::Backpressure | ErrorKind::NotConnected);
                if !passes || Instant::now() >= deadline {
                    return Ok(json!({ "accepted": accepted, "error": error_object(&error) }));
                }
                thread::sleep(PAUSE);
            }
        }
        Ok(json!({ "accepted": count }))
    }

    fn state(&self) -> Result<Value, Failure> {
        let client = self.client()?;
        let is_closed = client.is_closed();
        let names = client.event_names();
        let listeners: usize = names.iter().map(|name| client.listener_count(name)).sum();
        Ok(json!({
            "connected": self.connected.load(Ordering::SeqCst) && !is_closed,
            "closed": is_closed,
            "source": client.source().to_string(),
            "last_sequence": client.last_sequence(),
            "confirmed": client.confirmed_sequence(),
            "max_payload": client.max_payload(),
            "event_names": names,
            "listener_count": listeners,
        }))
    }
}
