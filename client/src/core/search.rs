//! The search for the machine's broker: which socket is tried next, and what is said
//! if none can be used.
//!
//! It goes on only past a socket at which nobody is, or which is not for this user. A
//! broker that is there and does not answer, or refuses, is the one that was meant: to
//! go on to another would make two buses of one.
//!
//! Decision: `docs/decisions/047-search-for-a-broker.md`.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;

use crate::error::Error;
use crate::path::ACCESS_ADVICE;

/// The search for the first broker.
#[derive(Debug)]
pub(crate) struct Search {
    left: VecDeque<PathBuf>,
    /// Sockets where there was none, and why.
    tried: Vec<(PathBuf, String)>,
    /// The last of these failures.
    last: Option<Error>,
}

impl Search {
    /// Makes a search through these sockets, of which there is at least one.
    pub(crate) fn new(paths: &[PathBuf]) -> Search {
        Search { left: paths.iter().cloned().collect(), tried: Vec::new(), last: None }
    }

    /// The socket to try now.
    ///
    /// # Errors
    /// None is left; where it was looked and why each is not used.
    pub(crate) fn next(&mut self) -> Result<PathBuf, Error> {
        match (self.left.pop_front(), self.last.take()) {
            (Some(path), _) => Ok(path),
            (None, Some(only)) if self.tried.len() == 1 => Err(only),
            (None, _) => Err(Error::NoneAnswers { tried: std::mem::take(&mut self.tried) }),
        }
    }

    /// Notes why the socket that was tried cannot be used.
    ///
    /// # Errors
    /// The failure, if it is no reason to look elsewhere.
    pub(crate) fn failed(&mut self, error: Error) -> Result<(), Error> {
        let (path, reason) = match &error {
            Error::BrokerNotRunning { path, source } => {
                let reason = match source.kind() {
                    io::ErrorKind::NotFound => "there is no socket",
                    io::ErrorKind::ConnectionRefused => {
                        "nobody listens at the socket that is there"
                    }
                    _ => "what listened there hung up before it answered",
                };
                (path, reason.to_owned())
            }
            Error::PermissionDenied { path, .. } => {
                (path, format!("no permission, {ACCESS_ADVICE}"))
            }
            Error::UntrustedSocket { path, reason } => (path, reason.clone()),
            _ => return Err(error),
        };
        self.tried.push((path.clone(), reason));
        self.last = Some(error);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn failure(path: &str, kind: io::ErrorKind) -> Error {
        Error::connect(Path::new(path), kind.into())
    }

    #[test]
    fn an_only_socket_fails_with_its_own_error() {
        let mut search = Search::new(&["/nowhere/a".into()]);
        let path = search.next().unwrap();
        assert_eq!(path, PathBuf::from("/nowhere/a"));
        search.failed(failure("/nowhere/a", io::ErrorKind::NotFound)).unwrap();
        assert!(matches!(search.next(), Err(Error::BrokerNotRunning { .. })));
    }

    #[test]
    fn what_is_said_names_each_socket_and_why_it_is_not_used() {
        let mut search = Search::new(&["/nowhere/a".into(), "/".into(), "/nowhere/c".into()]);
        search.next().unwrap();
        search.failed(failure("/nowhere/a", io::ErrorKind::NotFound)).unwrap();
        search.next().unwrap();
        search.failed(failure("/", io::ErrorKind::ConnectionRefused)).unwrap();
        search.next().unwrap();
        search.failed(failure("/nowhere/c", io::ErrorKind::PermissionDenied)).unwrap();
        let text = search.next().unwrap_err().to_string();
        assert!(text.contains("/nowhere/a: there is no socket; "), "{text}");
        assert!(text.contains("/: nobody listens at the socket that is there; "), "{text}");
        assert!(text.contains("/nowhere/c: no permission, "), "{text}");
        assert!(text.contains("netcluster serve") && text.contains("NETCLUSTER_SOCKET"), "{text}");
    }

    /// What broke: a broker that was just killed reset the connection, and the search
    /// ended there instead of at the system's broker.
    #[test]
    fn the_search_goes_on_past_a_broker_that_is_just_ending() {
        for kind in [io::ErrorKind::ConnectionReset, io::ErrorKind::UnexpectedEof] {
            let mut search = Search::new(&["/nowhere/a".into(), "/nowhere/b".into()]);
            search.next().unwrap();
            search.failed(failure("/nowhere/a", kind)).unwrap();
            assert_eq!(search.next().unwrap(), PathBuf::from("/nowhere/b"));
        }
    }

    #[test]
    fn a_broker_that_is_there_and_refuses_ends_the_search() {
        let mut search = Search::new(&["/nowhere/a".into(), "/nowhere/b".into()]);
        search.next().unwrap();
        let busy =
            Error::ClosedByBroker { code: netcluster_wire::ErrorCode::Busy, text: String::new() };
        assert!(matches!(search.failed(busy), Err(Error::ClosedByBroker { .. })));
    }
}
