//! Requests of whoever runs a broker, or looks at it, as JSON: the payload of a frame
//! `control`.
//!
//! Decision: `docs/decisions/070-one-kind-for-requests.md`.

use serde::Deserialize;

use crate::link_request::LinkRequest;

/// A request.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Open the link to other machines.
    LinkOpen(Box<LinkRequest>),
    /// Disconnect clients: the one of this number, or all of this process.
    Kick(Kick),
    /// Tell the clients that the broker will end, and end it.
    Drain(Drain),
    /// Tell the log's filter, or set another one.
    LogLevel(LogLevel),
    /// Read the configuration anew.
    Reload {},
    /// Give the place to another broker, which listens beside the socket.
    TakeOver(TakeOver),
}

/// Clients to be disconnected, and why.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Kick {
    /// Number of the client.
    pub client: Option<u32>,
    /// Process of the clients.
    pub pid: Option<u32>,
    /// Reason that the clients are told.
    pub reason: Option<String>,
}

/// The end of the broker.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// Milliseconds from what the clients are told to the end.
    #[serde(default)]
    pub notice_ms: u64,
}

/// The broker that is to take the place of this one.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakeOver {
    /// Name of its socket, in the directory of this one's.
    pub socket: String,
}

/// The filter of the log.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogLevel {
    /// Filter from now on; the one in force stays if there is none.
    pub level: Option<String>,
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(json: &[u8]) -> Result<Request, String> {
        let request = serde_json::from_slice(json)
            .map_err(|error| format!("the request is no JSON as it should be: {error}"))?;
        match &request {
            Request::Kick(Kick { client: None, pid: None, .. })
            | Request::Kick(Kick { client: Some(_), pid: Some(_), .. }) => {
                Err("kick whom? Either `client` or `pid` says it".to_owned())
            }
            _ => Ok(request),
        }
    }

    /// Returns whether it changes something, so that not everybody may ask for it.
    pub fn is_for_owner(&self) -> bool {
        match self {
            Request::LogLevel(LogLevel { level }) => level.is_some(),
            Request::LinkOpen(_)
            | Request::Kick(_)
            | Request::Drain(_)
            | Request::Reload {}
            | Request::TakeOver(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named() {
        for (json, words) in [
            ("", "no JSON"),
            ("{}", "missing field `do`"),
            (r#"{"do":"dance"}"#, "unknown variant `dance`"),
            (r#"{"do":"kick"}"#, "kick whom"),
            (r#"{"do":"kick","client":1,"pid":2}"#, "kick whom"),
            (r#"{"do":"kick","client":-1}"#, "invalid value"),
            (r#"{"do":"kick","cleint":1}"#, "unknown field `cleint`"),
            (r#"{"do":"reload","now":1}"#, "unknown field `now`"),
            (r#"{"do":"link-open","gruop":1}"#, "unknown field `gruop`"),
        ] {
            let error = Request::read(json.as_bytes()).unwrap_err();
            assert!(error.contains(words), "{json}: {error}");
        }
    }

    #[test]
    fn reading_is_for_everybody_and_changes_are_not() {
        let is_for_owner = |json: &str| Request::read(json.as_bytes()).unwrap().is_for_owner();
        assert!(!is_for_owner(r#"{"do":"log-level"}"#));
        for json in [
            r#"{"do":"log-level","level":"debug"}"#,
            r#"{"do":"kick","pid":7}"#,
            r#"{"do":"drain"}"#,
            r#"{"do":"reload"}"#,
            r#"{"do":"take-over","socket":".7.new"}"#,
            r#"{"do":"link-open","group":"239.1.2.3:4000"}"#,
        ] {
            assert!(is_for_owner(json), "{json}");
        }
    }
}
