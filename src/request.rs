//! Requests of whoever runs a broker, or looks at it, as JSON: the payload of a frame
//! `control`.
//!
//! Decision: `docs/decisions/070-one-kind-for-requests.md`.

use serde::Deserialize;

use crate::link_request::LinkRequest;
use crate::status::MAX_LISTED;

/// Clients that a page has unless another number is asked for.
const DEFAULT_LIMIT: usize = 100;

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
    /// Tell the counters, without lists of clients and channels.
    Totals {},
    /// Tell clients.
    Clients(ClientsWanted),
    /// Tell channels.
    Channels(ChannelsWanted),
    /// Tell the link and its peers.
    Peers {},
    /// Give the place to another broker, which listens beside the socket.
    TakeOver(TakeOver),
}

/// Clients that are to be told.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct ClientsWanted {
    /// Only clients whose numbers are above this one.
    pub after: u32,
    /// Number of clients at the most.
    pub limit: usize,
    /// Order, which decides who is left out.
    pub by: Order,
}

impl Default for ClientsWanted {
    fn default() -> ClientsWanted {
        ClientsWanted { after: 0, limit: DEFAULT_LIMIT, by: Order::Client }
    }
}

/// Order of clients.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Lowest numbers first: page after page.
    Client,
    /// Longest queues first.
    QueuedBytes,
    /// Those that emitted most first.
    EventsIn,
    /// Those that were queued most first.
    EventsOut,
    /// Those that lost most first.
    Dropped,
}

/// Channels that are to be told: those with the most clients.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct ChannelsWanted {
    /// Number of channels at the most.
    pub limit: usize,
}

impl Default for ChannelsWanted {
    fn default() -> ChannelsWanted {
        ChannelsWanted { limit: MAX_LISTED }
    }
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
    /// Terms on which it goes on with the link's session, if it would.
    pub link: Option<String>,
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
            .map_err(|error| format!("the request is not understood: {error}"))?;
        match &request {
            Request::Kick(Kick { client: None, pid: None, .. })
            | Request::Kick(Kick { client: Some(_), pid: Some(_), .. }) => {
                Err("kick whom? Either `client` or `pid` says it".to_owned())
            }
            Request::Clients(ClientsWanted { limit, .. })
            | Request::Channels(ChannelsWanted { limit })
                if !(1..=MAX_LISTED).contains(limit) =>
            {
                Err(format!("limit must be between 1 and {MAX_LISTED}"))
            }
            _ => Ok(request),
        }
    }

    /// Returns whether it changes something, so that not everybody may ask for it.
    pub fn is_for_owner(&self) -> bool {
        match self {
            Request::LogLevel(LogLevel { level }) => level.is_some(),
            Request::Totals {} | Request::Clients(_) | Request::Channels(_) | Request::Peers {} => {
                false
            }
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
            ("", "not understood"),
            ("{}", "missing field `do`"),
            (r#"{"do":"dance"}"#, "unknown variant `dance`"),
            (r#"{"do":"kick"}"#, "kick whom"),
            (r#"{"do":"kick","client":1,"pid":2}"#, "kick whom"),
            (r#"{"do":"kick","client":-1}"#, "invalid value"),
            (r#"{"do":"kick","cleint":1}"#, "unknown field `cleint`"),
            (r#"{"do":"reload","now":1}"#, "unknown field `now`"),
            (r#"{"do":"clients","limit":0}"#, "between 1 and 1000"),
            (r#"{"do":"clients","by":"beauty"}"#, "unknown variant `beauty`"),
            (r#"{"do":"channels","limit":1001}"#, "between 1 and 1000"),
            (r#"{"do":"totals","of":1}"#, "unknown field `of`"),
            (r#"{"do":"link-open","gruop":1}"#, "unknown field `gruop`"),
        ] {
            let error = Request::read(json.as_bytes()).unwrap_err();
            assert!(error.contains(words), "{json}: {error}");
        }
    }

    #[test]
    fn reading_is_for_everybody_and_changes_are_not() {
        let is_for_owner = |json: &str| Request::read(json.as_bytes()).unwrap().is_for_owner();
        for json in ["log-level", "totals", "clients", "channels", "peers"] {
            assert!(!is_for_owner(&format!(r#"{{"do":"{json}"}}"#)), "{json}");
        }
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
