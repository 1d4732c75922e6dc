//! Greeting of coordinator and agent: same program, same version, same token.
//!
//! ```text
//!   agent        ▶ Hello  { program, version, nonce A, needs_token }
//!   coordinator  ▶ Hello  { program, version, nonce C, proof(C side) }
//!   agent        ▶ Welcome{ proof(A side, machine), machine } | Refused { why }
//!   proof(side, said) = HMAC-SHA256(token, side ‖ A ‖ C ‖ version ‖ said)
//! ```
//! The token itself is never sent, and an old proof is worth nothing, since both nonces
//! are new. From then on each side seals its lines with a key that is made like a proof
//! and never sent. An agent without a token asks for none: it listens on loopback alone.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use netcluster_wire::escape::Escaped;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use super::lines::{MAX_HELLO_BYTES, Reader, Writer};
use super::machine::Machine;
use super::seal::Seal;

/// Time that each side waits for the other's next line.
pub const TIMEOUT: Duration = Duration::from_secs(5);
const PROGRAM: &str = "netcluster-loadtest";
const NONCE_BYTES: usize = 32;
/// Length of the shortest token: shorter ones can be guessed.
const MIN_TOKEN_BYTES: usize = 16;
const MAX_TOKEN_BYTES: usize = 1024;

/// Secret that both sides know.
pub struct Token(hmac::Key);

#[derive(Debug, Serialize, Deserialize)]
struct Hello {
    program: String,
    version: String,
    nonce: [u8; NONCE_BYTES],
    #[serde(default)]
    needs_token: bool,
    #[serde(default)]
    proof: Vec<u8>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// Machine of the agent as JSON, in the form that is proven.
    Welcome {
        proof: Vec<u8>,
        machine: String,
    },
    Refused(String),
}

#[derive(Clone, Copy)]
enum Side {
    Agent,
    Coordinator,
}

impl Token {
    /// Reads the token out of a file; blanks around it do not count.
    ///
    /// # Errors
    /// If the file cannot be read or the token is too short.
    pub fn read(path: &Path) -> Result<Token> {
        let place = path.display();
        let text = std::fs::read(path).with_context(|| format!("cannot read {place}"))?;
        Token::new(text.trim_ascii()).with_context(|| format!("the token in {place}"))
    }

    /// Makes a token of these bytes.
    fn new(bytes: &[u8]) -> Result<Token> {
        ensure!(
            (MIN_TOKEN_BYTES..=MAX_TOKEN_BYTES).contains(&bytes.len()),
            "a token has from {MIN_TOKEN_BYTES} to {MAX_TOKEN_BYTES} bytes, this one has {}: make \
             one with `openssl rand -hex 32`",
            bytes.len()
        );
        Ok(Token(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }

    fn prove(&self, side: Side, hellos: Hellos<'_>, said: &str) -> Vec<u8> {
        hmac::sign(&self.0, &hellos.claim(side.name(), said)).as_ref().to_vec()
    }

    fn is_proven(&self, side: Side, hellos: Hellos<'_>, said: &str, proof: &[u8]) -> bool {
        hmac::verify(&self.0, &hellos.claim(side.name(), said), proof).is_ok()
    }

    /// Makes the seal of what a side writes from now on.
    fn seal(&self, side: Side, hellos: Hellos<'_>) -> Seal {
        let label = [side.name(), b" seals"].concat();
        Seal::new(hmac::sign(&self.0, &hellos.claim(&label, "")).as_ref())
    }

    /// Seals both ends of the connection, which belong to the side `own`.
    fn seal_all(&self, own: Side, hellos: Hellos<'_>, reader: &mut Reader, writer: &mut Writer) {
        let other = match own {
            Side::Agent => Side::Coordinator,
            Side::Coordinator => Side::Agent,
        };
        reader.seal(self.seal(other, hellos));
        writer.seal(self.seal(own, hellos));
    }
}

impl Side {
    fn name(self) -> &'static [u8] {
        match self {
            Side::Agent => b"agent",
            Side::Coordinator => b"coordinator",
        }
    }
}

/// Hellos of both sides: one greeting.
#[derive(Clone, Copy)]
struct Hellos<'a> {
    agent: &'a Hello,
    coordinator: &'a Hello,
}

impl Hellos<'_> {
    /// Returns the claim that is proven: that somebody has the token, here and now, and
    /// has said this.
    fn claim(self, label: &[u8], said: &str) -> Vec<u8> {
        let version = self.agent.version.as_bytes();
        // Nothing can be moved from one part to the next.
        let lengths = [label.len(), version.len()].map(|length| length as u64);
        let lengths = lengths.map(u64::to_le_bytes).concat();
        let (agent, coordinator) = (&self.agent.nonce[..], &self.coordinator.nonce[..]);
        [&lengths, label, agent, coordinator, version, said.as_bytes()].concat()
    }
}

impl Hello {
    fn new(needs_token: bool) -> Result<Hello> {
        let mut nonce = [0; NONCE_BYTES];
        let filled = SystemRandom::new().fill(&mut nonce);
        filled.map_err(|_| anyhow::anyhow!("the system gives no random bytes"))?;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Ok(Hello { program: PROGRAM.into(), version, nonce, needs_token, proof: Vec::new() })
    }

    fn check(&self, whose: &str) -> Result<()> {
        ensure!(self.program == PROGRAM, "{whose} is no {PROGRAM}");
        let own = env!("CARGO_PKG_VERSION");
        ensure!(
            self.version == own,
            "{whose} is version {}, this one is {own}: install the same on all machines",
            Escaped::text(&self.version)
        );
        Ok(())
    }
}

/// Greets as an agent; `take` says whether there is room for a run, else why not.
///
/// # Errors
/// If the other side is no coordinator of ours, which was told why.
pub fn greet_coordinator<T>(
    reader: &mut Reader,
    writer: &mut Writer,
    token: Option<&Token>,
    take: impl FnOnce() -> Result<T>,
    machine: Machine,
) -> Result<T> {
    let own = Hello::new(token.is_some())?;
    writer.write(&own)?;
    let other: Hello = reader.read(MAX_HELLO_BYTES, TIMEOUT)?.context("it went away")?;
    let admit = || {
        other.check("the coordinator")?;
        if let Some(token) = token {
            ensure!(!other.proof.is_empty(), "this agent needs a token: --token-file");
            let hellos = Hellos { agent: &own, coordinator: &other };
            let is_proven = token.is_proven(Side::Coordinator, hellos, "", &other.proof);
            ensure!(is_proven, "the coordinator has another token");
        }
        take()
    };
    match admit() {
        Ok(room) => {
            let machine = serde_json::to_string(&machine)?;
            let hellos = Hellos { agent: &own, coordinator: &other };
            let proof = token.map(|token| token.prove(Side::Agent, hellos, &machine));
            let proof = proof.unwrap_or_default();
            writer.write(&Verdict::Welcome { proof, machine })?;
            if let Some(token) = token {
                token.seal_all(Side::Agent, hellos, reader, writer);
            }
            Ok(room)
        }
        Err(error) => {
            writer.write(&Verdict::Refused(format!("{error:#}")))?;
            Err(error)
        }
    }
}

/// Greets as a coordinator; returns the agent's machine.
///
/// # Errors
/// If the other side is no agent of ours, or refuses.
pub fn greet_agent(
    reader: &mut Reader,
    writer: &mut Writer,
    token: Option<&Token>,
) -> Result<Machine> {
    let other: Hello =
        reader.read(MAX_HELLO_BYTES, TIMEOUT)?.context("it closed the connection")?;
    other.check("the agent")?;
    ensure!(!other.needs_token || token.is_some(), "the agent needs a token: --token-file");
    // Whoever pretends to be an agent could say that it needs none.
    ensure!(
        other.needs_token || token.is_none(),
        "the agent has no token: give it --token-file, too"
    );
    let mut own = Hello::new(false)?;
    if let Some(token) = token {
        let hellos = Hellos { agent: &other, coordinator: &own };
        own.proof = token.prove(Side::Coordinator, hellos, "");
    }
    writer.write(&own)?;
    let verdict = reader.read(MAX_HELLO_BYTES, TIMEOUT)?.context("it closed the connection")?;
    match verdict {
        // Nobody has proven anything yet.
        Verdict::Refused(why) => bail!("the agent refuses: {}", Escaped::text(&why)),
        Verdict::Welcome { proof, machine } => {
            if let Some(token) = token {
                let hellos = Hellos { agent: &other, coordinator: &own };
                let is_proven = token.is_proven(Side::Agent, hellos, &machine, &proof);
                ensure!(is_proven, "the agent has another token");
                token.seal_all(Side::Coordinator, hellos, reader, writer);
            }
            serde_json::from_str(&machine).context("the agent's machine is not understood")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    use super::*;
    use crate::agent::lines;
    use crate::agent::message::Order;

    fn hellos() -> (Hello, Hello) {
        (Hello::new(true).unwrap(), Hello::new(false).unwrap())
    }

    #[test]
    fn a_proof_is_of_one_side_one_token_one_greeting_and_what_was_said() {
        let token = Token::new(b"0123456789abcdef").unwrap();
        let (agent, coordinator) = hellos();
        let hellos = Hellos { agent: &agent, coordinator: &coordinator };
        let proof = token.prove(Side::Coordinator, hellos, "x");
        let is_proven = |token: &Token, side, agent, said: &str| {
            token.is_proven(side, Hellos { agent, coordinator: &coordinator }, said, &proof)
        };
        assert!(is_proven(&token, Side::Coordinator, &agent, "x"));
        assert!(!is_proven(&token, Side::Agent, &agent, "x"));
        assert!(!is_proven(&token, Side::Coordinator, &agent, "y"));
        let other = Token::new(b"0123456789abcdeg").unwrap();
        assert!(!is_proven(&other, Side::Coordinator, &agent, "x"));
        let later = Hello::new(true).unwrap();
        assert!(!is_proven(&token, Side::Coordinator, &later, "x"));
        assert!(!token.is_proven(Side::Coordinator, hellos, "x", &[]));
    }

    /// Takes a line from one connection to the other.
    fn carry(mut from: &TcpStream, mut to: &TcpStream) {
        let mut byte = [0];
        while byte != *b"\n" {
            from.read_exact(&mut byte).unwrap();
            to.write_all(&byte).unwrap();
        }
    }

    /// Returns the two ends of a greeting with a token, and the connections of somebody
    /// on the way between them.
    fn greeted() -> (TcpStream, TcpStream, (Reader, Writer), (Reader, Writer)) {
        let pair = || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let here = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            (here, listener.accept().unwrap().0)
        };
        let ((agent, to_agent), (coordinator, to_coordinator)) = (pair(), pair());
        let (mut coordinator, mut agent) =
            (lines::split(coordinator).unwrap(), lines::split(agent).unwrap());
        let token = || Token::new(b"0123456789abcdef").unwrap();
        thread::scope(|scope| {
            let greeting = scope.spawn(|| {
                let (reader, writer) = &mut agent;
                let machine = Machine::this();
                greet_coordinator(reader, writer, Some(&token()), || Ok(()), machine).unwrap();
            });
            scope.spawn(|| {
                carry(&to_agent, &to_coordinator);
                carry(&to_coordinator, &to_agent);
                carry(&to_agent, &to_coordinator);
            });
            let (reader, writer) = &mut coordinator;
            assert_eq!(greet_agent(reader, writer, Some(&token())).unwrap(), Machine::this());
            greeting.join().unwrap();
        });
        (to_agent, to_coordinator, agent, coordinator)
    }

    /// Lines after the greeting were not authenticated: whoever was on the way gave orders.
    #[test]
    fn who_is_on_the_way_can_neither_put_in_nor_change_nor_repeat_a_line() {
        let soon = Duration::from_secs(60);
        for tamper in ["nothing", "own line", "change", "repeat", "send back"] {
            let (mut to_agent, to_coordinator, (mut orders, mut answers), (_, mut coordinator)) =
                greeted();
            coordinator.write(&Order::AwaitPeers(1)).unwrap();
            let mut line = Vec::new();
            BufReader::new(&to_coordinator).read_until(b'\n', &mut line).unwrap();
            match tamper {
                "own line" => line = b"{\"await_peers\":7}\n".to_vec(),
                "change" => {
                    let digit = line.iter().rposition(|byte| *byte == b'1').unwrap();
                    line[digit] = b'7';
                }
                "send back" => {
                    answers.write(&Order::AwaitPeers(1)).unwrap();
                    line.clear();
                    BufReader::new(&to_agent).read_until(b'\n', &mut line).unwrap();
                }
                _ => {}
            }
            to_agent.write_all(&line).unwrap();
            let mut read = || orders.read::<Order>(MAX_HELLO_BYTES, soon);
            match tamper {
                "nothing" | "repeat" => assert_eq!(read().unwrap(), Some(Order::AwaitPeers(1))),
                _ => assert!(read().is_err(), "{tamper}"),
            }
            if tamper == "repeat" {
                to_agent.write_all(&line).unwrap();
                assert!(read().unwrap_err().to_string().contains("somebody interferes"));
            }
        }
    }

    #[test]
    fn short_tokens_are_refused_with_the_way_to_make_one() {
        let error = Token::new(b"secret").err().unwrap().to_string();
        assert!(error.contains("openssl rand"), "{error}");
    }
}
