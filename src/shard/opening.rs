//! Opening the link of a broker that runs, when its owner asks for it.
//!
//! ```text
//!   frame `link` ─► the link's shard ─► a thread opens sockets ─► the shard is woken
//!      ▲                                                             │ starts the link
//!      └──────────── answer ◄──────────────────────────── LinkOpened to the others
//! ```
//! Each shard adds the link to its routes by itself, and tells which channels its clients
//! are on, as for clients that come.
//!
//! Decision: `docs/decisions/052-link-opened-while-running.md`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use netcluster_link::config::StreamMap;
use netcluster_link::options::LinkOptions;
use netcluster_platform::{Conn, Io};
use netcluster_wire::limits::MAX_CONTROL_PAYLOAD_BYTES;
use netcluster_wire::{Kind, frame};

use crate::link_request;
use crate::mesh::Message;
use crate::opener::{Opened, Opener, Wish};
use crate::target::{LINK_HOME, ShardId, Target};

use super::Shard;

/// Reason why a link is not opened a second time.
const OPEN: &str = "the broker has its link already, which stays as it is until the broker ends; `netcluster \
     status` shows it";

/// Reason why a broker that ends opens no link.
const ENDING: &str = "the broker shuts down";

impl<I: Io> Shard<I> {
    /// Gives the shard a way to open the link while it runs.
    pub fn with_opener(mut self, opener: Opener<I::Sockets>) -> Shard<I> {
        self.opener = Some(opener);
        self
    }

    /// Handles the wish of a client that the link be opened.
    pub(super) fn link_wanted(&mut self, conn: Conn, request: u64, payload: &[u8]) {
        let connection = self.connections.at(conn);
        let target = connection.target;
        if !self.acceptor.limits.is_trusted(&connection.peer) {
            let text = "only root and the broker's own user may open its link";
            return self.link_answered(target, request, text);
        }
        let options = match link_request::decode(payload, self.shared.config.max_payload_bytes) {
            Ok(options) => Box::new(options),
            Err(text) => return self.link_answered(target, request, &text),
        };
        if self.id == LINK_HOME {
            return self.open_link(target, request, options);
        }
        self.mesh.send(LINK_HOME, Message::LinkWanted { target, request, options });
    }

    /// Begins to open the link, on the shard that will drive it.
    pub(super) fn open_link(&mut self, target: Target, request: u64, options: Box<LinkOptions>) {
        let is_ending = self.is_shutting_down();
        let begun = match &mut self.opener {
            _ if self.link.is_some() => Err(OPEN.to_owned()),
            _ if is_ending => Err(ENDING.to_owned()),
            None => Err("this broker cannot open a link while it runs".to_owned()),
            Some(opener) => opener.begin(Wish { target, request, options }),
        };
        if let Err(text) = begun {
            self.answer_link(target, request, text);
        }
    }

    /// Starts the link if its sockets were opened.
    pub(super) fn take_opened_link(&mut self) {
        let Some(opener) = &mut self.opener else { return };
        let Some(Opened { target, request, start }) = opener.take_opened() else { return };
        // Whoever says goodbye to the other brokers has come by already.
        let start = if self.is_shutting_down() { Err(ENDING.to_owned()) } else { start };
        let started = start.and_then(|start| {
            let streams = Arc::new(StreamMap::new(&start.config));
            let started = self.start_link(start);
            started.map(|()| streams).map_err(|error| format!("cannot use the sockets: {error}"))
        });
        match started {
            Ok(streams) => {
                for shard in ShardId::all(self.mesh.shards()).filter(|&shard| shard != self.id) {
                    self.mesh.send(shard, Message::LinkOpened(Arc::clone(&streams)));
                }
                self.link_opened(streams);
                self.answer_link(target, request, String::new());
            }
            Err(text) => self.answer_link(target, request, text),
        }
    }

    /// Has events of this shard's clients also go to the link from now on.
    pub(super) fn link_opened(&mut self, streams: Arc<StreamMap>) {
        for (name, members) in self.router.channels.open_link(streams) {
            for _ in 0..members {
                self.channel_used(&name);
            }
        }
    }

    fn is_shutting_down(&self) -> bool {
        self.shared.shutdown.load(Ordering::Relaxed)
    }

    fn answer_link(&mut self, target: Target, request: u64, text: String) {
        if target.shard == self.id {
            self.link_answered(target, request, &text);
        } else {
            self.mesh.send(target.shard, Message::LinkAnswered { target, request, text });
        }
    }

    /// Tells a client that the link is open, or why not.
    pub(super) fn link_answered(&mut self, target: Target, request: u64, text: &str) {
        let Some(connection) = self.connections.find_open(target) else { return };
        let source = connection.source;
        // A character that is cut is one that a reader replaces.
        let text = &text.as_bytes()[..text.len().min(MAX_CONTROL_PAYLOAD_BYTES)];
        let answer = frame::encode(Kind::Link, source, request, b"", text);
        self.reply(target.conn, &answer);
    }
}
