//! The greeting of coordinator and agent: same program, same version, same token.
//!
//! ```text
//!   agent        ▶ Hello  { program, version, nonce A, needs_token }
//!   coordinator  ▶ Hello  { program, version, nonce C, proof(C side) }
//!   agent        ▶ Welcome{ proof(A side), machine } | Refused { why }
//!   proof(side) = HMAC-SHA256(token, side ‖ A ‖ C ‖ version)
//! ```
//! The token itself is never sent, and an old proof is worth nothing, since both
//! nonces are new. An agent without a token asks for none: it listens on loopback
//! alone.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use super::lines::{MAX_HELLO_BYTES, Reader, Writer};
use super::machine::Machine;

/// How long each side waits for the other's next line.
pub const TIMEOUT: Duration = Duration::from_secs(5);
const PROGRAM: &str = "netcluster-loadtest";
const NONCE_BYTES: usize = 32;
/// Shorter ones can be guessed.
const MIN_TOKEN_BYTES: usize = 16;
const MAX_TOKEN_BYTES: usize = 1024;

/// What both sides know.
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
    Welcome { proof: Vec<u8>, machine: Box<Machine> },
    Refused(String),
}

#[derive(Clone, Copy)]
enum Side {
    Agent,
    Coordinator,
}

impl Token {
    /// Out of a file; blanks around it do not count.
    ///
    /// # Errors
    /// If the file cannot be read or the token is too short.
    pub fn read(path: &Path) -> Result<Token> {
        let place = path.display();
        let text = std::fs::read(path).with_context(|| format!("cannot read {place}"))?;
        Token::new(text.trim_ascii()).with_context(|| format!("the token in {place}"))
    }

    /// Of these bytes.
    fn new(bytes: &[u8]) -> Result<Token> {
        ensure!(
            (MIN_TOKEN_BYTES..=MAX_TOKEN_BYTES).contains(&bytes.len()),
            "a token has from {MIN_TOKEN_BYTES} to {MAX_TOKEN_BYTES} bytes, this one has {}: make \
             one with `openssl rand -hex 32`",
            bytes.len()
        );
        Ok(Token(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }

    fn prove(&self, side: Side, agent: &Hello, coordinator: &Hello) -> Vec<u8> {
        hmac::sign(&self.0, &claim(side, agent, coordinator)).as_ref().to_vec()
    }

    fn is_proven(&self, side: Side, agent: &Hello, coordinator: &Hello, proof: &[u8]) -> bool {
        hmac::verify(&self.0, &claim(side, agent, coordinator), proof).is_ok()
    }
}

/// What is proven: that this side has the token, here and now.
fn claim(side: Side, agent: &Hello, coordinator: &Hello) -> Vec<u8> {
    let side: &[u8] = match side {
        Side::Agent => b"agent",
        Side::Coordinator => b"coordinator",
    };
    [side, &agent.nonce, &coordinator.nonce, agent.version.as_bytes()].concat()
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
            self.version
        );
        Ok(())
    }
}

/// Greets as an agent; `take` says whether there is room for a run, else why not.
///
/// # Errors
/// If the other side is no coordinator of ours, after it was told why.
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
            let is_proven = token.is_proven(Side::Coordinator, &own, &other, &other.proof);
            ensure!(is_proven, "the coordinator has another token");
        }
        take()
    };
    match admit() {
        Ok(room) => {
            let proof =
                token.map(|token| token.prove(Side::Agent, &own, &other)).unwrap_or_default();
            writer.write(&Verdict::Welcome { proof, machine: Box::new(machine) })?;
            Ok(room)
        }
        Err(error) => {
            writer.write(&Verdict::Refused(format!("{error:#}")))?;
            Err(error)
        }
    }
}

/// Greets as a coordinator; what machine the agent is on.
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
        own.proof = token.prove(Side::Coordinator, &other, &own);
    }
    writer.write(&own)?;
    let verdict = reader.read(MAX_HELLO_BYTES, TIMEOUT)?.context("it closed the connection")?;
    match verdict {
        Verdict::Refused(why) => bail!("the agent refuses: {why}"),
        Verdict::Welcome { proof, machine } => {
            if let Some(token) = token {
                let is_proven = token.is_proven(Side::Agent, &other, &own, &proof);
                ensure!(is_proven, "the agent has another token");
            }
            Ok(*machine)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hellos() -> (Hello, Hello) {
        (Hello::new(true).unwrap(), Hello::new(false).unwrap())
    }

    #[test]
    fn a_proof_is_of_one_side_one_token_and_one_greeting() {
        let token = Token::new(b"0123456789abcdef").unwrap();
        let (agent, coordinator) = hellos();
        let proof = token.prove(Side::Coordinator, &agent, &coordinator);
        let is_proven = |token: &Token, side, agent: &Hello, coordinator: &Hello| {
            token.is_proven(side, agent, coordinator, &proof)
        };
        assert!(is_proven(&token, Side::Coordinator, &agent, &coordinator));
        assert!(!is_proven(&token, Side::Agent, &agent, &coordinator));
        let other = Token::new(b"0123456789abcdeg").unwrap();
        assert!(!is_proven(&other, Side::Coordinator, &agent, &coordinator));
        let (later, _) = hellos();
        assert!(!is_proven(&token, Side::Coordinator, &later, &coordinator));
        assert!(!token.is_proven(Side::Coordinator, &agent, &coordinator, &[]));
    }

    #[test]
    fn short_tokens_are_refused_with_the_way_to_make_one() {
        let error = Token::new(b"secret").err().unwrap().to_string();
        assert!(error.contains("openssl rand"), "{error}");
    }
}
