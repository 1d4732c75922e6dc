//! `netcluster demo`: a broker, a listener and an emitter in one process, so that
//! a newcomer sees events flow within a minute. It ends by itself.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use netcluster::{Broker, BrokerOptions};
use netcluster_client::Client;

use super::args::DemoArgs;
use super::failure::Failure;
use super::output::notice;
use super::signals::{self, Outcome};
use super::values::BackendName;
#[cfg(unix)]
use unix::Place;
#[cfg(windows)]
use windows::Place;

const GREETINGS: [&str; 5] = ["hello", "bonjour", "hallo", "ciao", "olá"];
const BETWEEN_GREETINGS: Duration = Duration::from_millis(200);
const BURST: Duration = Duration::from_millis(500);
const BURST_PAYLOAD_BYTES: usize = 16;
/// The clock is looked at after so many events of the burst.
const LOOK_EVERY_EVENTS: u64 = 256;
/// Longest time that anything may take to arrive.
const PATIENCE: Duration = Duration::from_secs(5);

/// Shows events flowing.
pub fn run(args: DemoArgs) -> Result<(), Failure> {
    let place = Arc::new(Place::new()?);
    let shown = Arc::clone(&place);
    match signals::until_first(move || play(&args, &shown))? {
        Outcome::Done(Err(Stop::Output(error))) => Failure::output(&error),
        Outcome::Done(Err(Stop::Failed(failure))) => Err(failure),
        Outcome::Done(Ok(())) => Ok(()),
        Outcome::Interrupted(request) => {
            place.remove();
            notice("the demo was interrupted");
            request.end()
        }
    }
}

enum Stop {
    Output(io::Error),
    Failed(Failure),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Output(error)
    }
}

impl From<netcluster_client::Error> for Stop {
    fn from(error: netcluster_client::Error) -> Stop {
        Stop::Failed(error.into())
    }
}

fn play(args: &DemoArgs, place: &Place) -> Result<(), Stop> {
    let mut out = io::stdout();
    let broker = start_broker(args, place).map_err(Stop::Failed)?;
    writeln!(out, "A broker, a listener and an emitter, for once in one process.\n")?;
    let shards = broker.shards();
    writeln!(
        out,
        "broker    back end {}, {shards} shard{}, socket {}",
        broker.backend(),
        if shards == 1 { "" } else { "s" },
        broker.socket().display()
    )?;

    let listener = Client::builder().name("demo listener").connect(broker.socket())?;
    let emitter = Client::builder().name("demo emitter").connect(broker.socket())?;
    greet(&mut out, &listener, &emitter)?;
    burst(&mut out, &listener, &emitter)?;
    listener.disconnect()?;
    writeln!(
        out,
        "\nNow across processes, each in a terminal of its own:\n  \
         netcluster serve\n  netcluster on 'log.**'\n  netcluster emit log.web hello"
    )?;
    broker.shutdown().request();
    broker.join().map_err(|error| Stop::Failed(Failure::other(error)))
}

fn start_broker(args: &DemoArgs, place: &Place) -> Result<Broker, Failure> {
    let mut options = BrokerOptions::new(place.socket());
    options.bind.mode = 0o600;
    options.backend = args.backend.unwrap_or(BackendName::Auto).choice();
    Broker::start(options).map_err(Failure::other)
}

/// A few events, one after the other, each with its time from emitter to listener.
fn greet(out: &mut impl Write, listener: &Client, emitter: &Client) -> Result<(), Stop> {
    let (arrivals, arrived) = mpsc::channel();
    let id = listener.on("greeting.*", move |message| {
        // The other end waits for each; it is gone only after a failure.
        let _ = arrivals.send((Instant::now(), message.into_owned()));
    })?;
    writeln!(out, "listener  on(\"greeting.*\")")?;
    for (number, greeting) in GREETINGS.iter().enumerate() {
        let event = format!("greeting.{}", number + 1);
        std::thread::sleep(BETWEEN_GREETINGS);
        writeln!(out, "emitter   emit({event:?}, {greeting:?})")?;
        let emitted = Instant::now();
        emitter.emit(&event, greeting)?;
        let (at, message) = arrived.recv_timeout(PATIENCE).map_err(|_| late("a greeting"))?;
        let data = String::from_utf8_lossy(message.payload());
        let micros = at.saturating_duration_since(emitted).as_micros();
        writeln!(out, "listener  got {} {data:?} after {micros} µs", message.event())?;
    }
    listener.remove_listener(id);
    Ok(())
}

/// Emits as many small events as go through in half a second, by a plain loop.
fn burst(out: &mut impl Write, listener: &Client, emitter: &Client) -> Result<(), Stop> {
    let count = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&count);
    listener.on("burst", move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    })?;
    writeln!(out, "\nemitter   emit(\"burst\", {BURST_PAYLOAD_BYTES} bytes) in a loop …")?;
    out.flush()?;
    let start = Instant::now();
    let mut emitted = 0_u64;
    let payload = [b'x'; BURST_PAYLOAD_BYTES];
    while start.elapsed() < BURST {
        for _ in 0..LOOK_EVERY_EVENTS {
            emitter.emit("burst", payload)?;
        }
        emitted += LOOK_EVERY_EVENTS;
    }
    // Returns when the broker has queued everything for the listener.
    emitter.disconnect()?;
    let deadline = Instant::now() + PATIENCE;
    while count.load(Ordering::Relaxed) < emitted {
        if Instant::now() > deadline {
            return Err(late("the burst"));
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    let elapsed = start.elapsed();
    writeln!(
        out,
        "listener  got all {} events, {:.1} million a second",
        grouped(emitted),
        emitted as f64 / elapsed.as_secs_f64() / 1e6
    )?;
    Ok(())
}

fn late(what: &str) -> Stop {
    let text =
        format_args!("{what} did not arrive within {PATIENCE:?}: is the machine overloaded?");
    Stop::Failed(Failure::other(text))
}

/// A number with its digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(123), "123");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
