//! A driver: the process, what it is asked, and what it reports.
//!
//! Invariant: reports stay in the order in which they came; who waits for one kind leaves
//! the others where they are.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use base64::prelude::{BASE64_STANDARD, Engine};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Longest wait for an answer or a report.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longest time that a driver takes to end when its input does.
const END: Duration = Duration::from_secs(10);

/// Bytes of standard error that are kept.
const MAX_STDERR_BYTES: u64 = 64 << 10;

/// A driver, and the client that it holds.
pub struct Driver {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<Value>,
    reports: VecDeque<Value>,
    /// Answers that came while a report was waited for.
    answers: VecDeque<Value>,
    capabilities: Vec<String>,
    next_id: u64,
    stderr: Arc<Mutex<Vec<u8>>>,
}

/// An event as a driver reports it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The listener that was called.
    pub listener: String,
    /// The event's name.
    pub event: String,
    /// The encoding's name.
    pub encoding: String,
    /// The payload as it came.
    pub data: Vec<u8>,
    /// The whole report.
    pub report: Value,
    /// Who emitted it.
    pub source: String,
    /// The emitter's number for it.
    pub sequence: u64,
}

impl Event {
    /// The number that an event of `emit_many` carries.
    ///
    /// # Errors
    /// It carries none.
    pub fn number(&self) -> Result<u64> {
        let text = std::str::from_utf8(&self.data)?;
        text.trim_end().parse().with_context(|| format!("a number: {text}"))
    }
}

/// A request that the client refused.
#[derive(Debug)]
pub struct Refused {
    /// The error's code.
    pub code: String,
    /// The words for people.
    pub message: String,
    /// The number of the broker's error, if that is what it came of.
    pub broker_code: Option<u64>,
}

impl Driver {
    /// Starts a driver by a shell's command, and takes its greeting.
    ///
    /// # Errors
    /// It cannot be started, or does not greet.
    pub fn start(command: &str) -> Result<Driver> {
        let mut child = Command::new("sh")
            .args(["-c", &format!("exec {command}")])
            .env_remove("NETCLUSTER_SOCKET")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{command}`"))?;
        let (sender, lines) = mpsc::channel();
        let output = BufReader::new(child.stdout.take().context("its output")?);
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                // A line that is none is told by who waits for it.
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send(value).is_err() {
                    return;
                }
            }
        });
        let stderr = child.stderr.take().context("its errors")?;
        let kept = Arc::new(Mutex::new(Vec::new()));
        let filled = Arc::clone(&kept);
        thread::spawn(move || {
            let mut stderr = BufReader::new(stderr);
            let mut bytes = Vec::new();
            let _ = stderr.by_ref().take(MAX_STDERR_BYTES).read_to_end(&mut bytes);
            *filled.lock().unwrap_or_else(PoisonError::into_inner) = bytes;
            let _ = std::io::copy(&mut stderr, &mut std::io::sink());
        });
        let input = child.stdin.take();
        let mut driver = Driver {
            child,
            input,
            lines,
            reports: VecDeque::new(),
            answers: VecDeque::new(),
            capabilities: Vec::new(),
            next_id: 0,
            stderr: kept,
        };
        let greeting = driver.line(Instant::now() + PATIENCE).context("its greeting")?;
        ensure!(greeting["driver"].is_string(), "a greeting, not {greeting}");
        let capabilities = greeting["capabilities"].as_array().context("its capabilities")?;
        driver.capabilities =
            capabilities.iter().filter_map(|it| it.as_str().map(str::to_owned)).collect();
        Ok(driver)
    }

    /// Whether it has a capability.
    #[must_use]
    pub fn can(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|it| it == capability)
    }

    /// Sends a request without waiting for the answer; its number.
    ///
    /// # Errors
    /// The driver is gone.
    pub fn send(&mut self, mut request: Value) -> Result<u64> {
        self.next_id += 1;
        request["id"] = self.next_id.into();
        let input = self.input.as_mut().context("its input is closed")?;
        writeln!(input, "{request}").and_then(|()| input.flush()).context("the driver is gone")?;
        Ok(self.next_id)
    }

    /// Waits for the answer to a request.
    ///
    /// # Errors
    /// None comes.
    pub fn answer(&mut self, id: u64) -> Result<Result<Value, Refused>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let line = match self.answers.pop_front() {
                Some(answer) => answer,
                None => self.line(deadline).with_context(|| format!("the answer {id}"))?,
            };
            if line["report"].is_string() {
                self.reports.push_back(line);
                continue;
            }
            ensure!(line["id"] == id, "the answer {id}, not {line}");
            let Some(error) = line.get("error") else { return Ok(Ok(line["ok"].clone())) };
            let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
            return Ok(Err(Refused {
                code: text("code"),
                message: text("message"),
                broker_code: error["broker_code"].as_u64(),
            }));
        }
    }

    /// Whether the answer to the request sent last has not come yet, after this time.
    ///
    /// # Errors
    /// The driver is gone.
    pub fn is_silent(&mut self, time: Duration) -> Result<bool> {
        let deadline = Instant::now() + time;
        loop {
            let wait = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(wait) {
                Ok(line) if line["report"].is_string() => self.reports.push_back(line),
                Ok(answer) => {
                    self.answers.push_back(answer);
                    return Ok(false);
                }
                Err(mpsc::RecvTimeoutError::Timeout) => return Ok(true),
                Err(_) => bail!("the driver is gone"),
            }
        }
    }

    /// Has a request carried out.
    ///
    /// # Errors
    /// It is refused, or there is no answer.
    pub fn call(&mut self, request: Value) -> Result<Value> {
        let id = self.send(request.clone())?;
        self.answer(id)?.map_err(|refused| anyhow!("{request} failed: {refused:?}"))
    }

    /// Has a request refused.
    ///
    /// # Errors
    /// It is carried out, or there is no answer.
    pub fn refused(&mut self, request: Value) -> Result<Refused> {
        let id = self.send(request.clone())?;
        match self.answer(id)? {
            Ok(ok) => bail!("{request} should fail, but: {ok}"),
            Err(refused) => {
                ensure!(!refused.message.is_empty(), "{request}: no words for people");
                Ok(refused)
            }
        }
    }

    /// Connects to this socket; the source that the client has.
    ///
    /// # Errors
    /// It fails.
    pub fn connect(&mut self, socket: &str) -> Result<String> {
        self.connect_with(socket, json!({}))
    }

    /// Connects with these options.
    ///
    /// # Errors
    /// It fails.
    pub fn connect_with(&mut self, socket: &str, mut options: Value) -> Result<String> {
        options["do"] = "connect".into();
        options["socket"] = socket.into();
        let ok = self.call(options)?;
        Ok(ok["source"].as_str().context("a source")?.to_owned())
    }

    /// Listens; the pattern is the listener's name as well.
    ///
    /// # Errors
    /// It is refused.
    pub fn on(&mut self, pattern: &str) -> Result<()> {
        self.call(json!({ "do": "on", "pattern": pattern, "listener": pattern })).map(drop)
    }

    /// Emits a text.
    ///
    /// # Errors
    /// It is refused.
    pub fn emit(&mut self, event: &str, text: &str) -> Result<()> {
        let request = json!({ "do": "emit", "event": event, "encoding": "text", "text": text });
        self.call(request).map(drop)
    }

    /// Waits for the next report of one of these kinds.
    ///
    /// # Errors
    /// None comes.
    pub fn report(&mut self, kinds: &[&str]) -> Result<Value> {
        let is_one = |report: &Value| kinds.iter().any(|kind| report["report"] == *kind);
        if let Some(at) = self.reports.iter().position(is_one) {
            return self.reports.remove(at).context("it was there");
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let line = self.line(deadline).with_context(|| format!("a report of {kinds:?}"))?;
            if is_one(&line) {
                return Ok(line);
            }
            match line["report"] {
                Value::String(_) => self.reports.push_back(line),
                _ => self.answers.push_back(line),
            }
        }
    }

    /// Waits for the next event.
    ///
    /// # Errors
    /// None comes, or it is none as it should be.
    pub fn event(&mut self) -> Result<Event> {
        let report = self.report(&["event"])?;
        event_of(report)
    }

    /// Waits for the next event, which has this text.
    ///
    /// # Errors
    /// Another one comes, or none.
    pub fn text(&mut self, expected: &str) -> Result<Event> {
        let event = self.event()?;
        ensure!(event.data == expected.as_bytes(), "`{expected}`, not {}", event.report);
        Ok(event)
    }

    /// The reports of this kind that came already, and are not taken.
    #[must_use]
    pub fn left(&self, kind: &str) -> Vec<&Value> {
        self.reports.iter().filter(|report| report["report"] == kind).collect()
    }

    /// What the client says of itself.
    ///
    /// # Errors
    /// There is no answer.
    pub fn state(&mut self) -> Result<Value> {
        self.call(json!({ "do": "state" }))
    }

    /// Stops the process in its tracks: whatever it reads from is full soon.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a frozen process go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // One that is gone needs none.
            let _ = kill_process(pid, signal);
        }
    }

    /// Ends its input, and sees that it ends by itself.
    ///
    /// # Errors
    /// It does not, or with another code than 0.
    pub fn finish(&mut self) -> Result<()> {
        self.input = None;
        let deadline = Instant::now() + END;
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "the driver ended with {status}");
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the driver goes on after the end of its input");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// What it wrote to standard error.
    #[must_use]
    pub fn stderr(&self) -> String {
        let bytes = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn line(&mut self, deadline: Instant) -> Result<Value> {
        let wait = deadline.saturating_duration_since(Instant::now());
        let line = match self.lines.recv_timeout(wait) {
            Ok(line) => line,
            Err(mpsc::RecvTimeoutError::Timeout) => bail!("nothing came in time"),
            Err(_) => bail!("the driver is gone: {}", self.stderr()),
        };
        ensure!(line.is_object(), "a line that is no object: {line}");
        Ok(line)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn event_of(report: Value) -> Result<Event> {
    let text = |key: &str| {
        let text = report[key].as_str().with_context(|| format!("`{key}` of {report}"));
        text.map(str::to_owned)
    };
    Ok(Event {
        listener: text("listener")?,
        event: text("event")?,
        encoding: text("encoding")?,
        data: BASE64_STANDARD.decode(text("data")?).ok().context("base64")?,
        source: text("source")?,
        sequence: report["sequence"].as_u64().context("a sequence")?,
        report,
    })
}
