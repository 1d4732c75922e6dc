//! Opening the link of a broker that runs, when its owner asks for it.
//!
//! ```text
//!   `link-open` ─► the link's shard ─► a thread opens sockets ─► the shard is woken
//!      ▲                                                             │ starts the link
//!      └──────────── answer ◄──────────────────────────── LinkOpened to the others
//! ```
//! Each shard adds the link to its routes by itself, and tells which channels its clients
//! are on, as for clients that come. Who asks again, with the same settings, changes keys and
//! peers: no reload knows those of a link that was opened so.
//!
//! Decision: `docs/decisions/052-link-opened-while-running.md`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use netcluster_link::config::StreamMap;
use netcluster_link::options::LinkOptions;
use netcluster_platform::Io;

use crate::link_request::LinkRequest;
use crate::mesh::Message;
use crate::opener::{Opened, Opener, Wish};
use crate::target::{LINK_HOME, ShardId, Target};

use super::Shard;
use super::reload::{LinkReload, PeersReload};
use super::requests::DONE;

/// Reason why a link is not opened a second time.
const OPEN: &str = "the broker has its link already, by its own settings: change those, and `netcluster reload`; \
     `netcluster status` shows it";

/// Reason why a link that was opened is not changed.
const CHANGED: &str = "the broker has its link already, of which only keys and peers change while it runs: all \
     other settings must be those that it was opened with";

/// Reason why a link's keys are not changed.
const SEALED: &str =
    "a link with a key stays one with a key, and one without stays so, until the broker ends";

/// Reason why a broker that ends opens no link.
const ENDING: &str = "the broker shuts down";

impl<I: Io> Shard<I> {
    /// Gives the shard a way to open the link while it runs.
    pub fn with_opener(mut self, opener: Opener<I::Sockets>) -> Shard<I> {
        self.opener = Some(opener);
        self
    }

    /// Handles the wish of a client that the link be opened.
    pub(super) fn link_wanted(
        &mut self,
        target: Target,
        request: u64,
        link: LinkRequest,
    ) -> Result<(), String> {
        let options = Box::new(link.options(self.shared.config.max_payload_bytes)?);
        if self.id == LINK_HOME {
            self.open_link(target, request, options);
        } else {
            self.mesh.send(LINK_HOME, Message::LinkWanted { target, request, options });
        }
        Ok(())
    }

    /// Begins to open the link, on the shard that will drive it.
    pub(super) fn open_link(&mut self, target: Target, request: u64, options: Box<LinkOptions>) {
        let is_ending = self.is_shutting_down();
        let begun = match &mut self.opener {
            _ if is_ending => Err(ENDING.to_owned()),
            _ if self.link.is_some() => {
                let changed = self.change_link(&options).err().unwrap_or_default();
                return self.answer_link(target, request, changed);
            }
            None => Err("this broker cannot open a link while it runs".to_owned()),
            Some(opener) => opener.begin(Wish { target, request, options }),
        };
        if let Err(text) = begun {
            self.answer_link(target, request, text);
        }
    }

    /// Gives a link that was opened while the broker runs other keys and peers.
    fn change_link(&mut self, wanted: &LinkOptions) -> Result<(), String> {
        let before = self.opened.as_mut().ok_or(OPEN)?;
        if before.keys.is_open() != wanted.keys.is_open() {
            return Err(SEALED.to_owned());
        }
        let keys = wanted.keys.clone();
        let same = LinkOptions {
            keys: keys.clone(),
            peers: before.peers.clone(),
            expected_peers: before.expected_peers.clone(),
            ..wanted.clone()
        };
        let own = LinkOptions { keys: keys.clone(), ..(**before).clone() };
        // Neither prints keys, and both have the same.
        if format!("{same:?}") != format!("{own:?}") {
            return Err(CHANGED.to_owned());
        }
        let peers = if before.peers == wanted.peers {
            None
        } else {
            Some(PeersReload::of(&wanted.peers, wanted.group.is_ipv6())?)
        };
        before.keys = keys.clone();
        before.peers.clone_from(&wanted.peers);
        before.expected_peers.clone_from(&wanted.expected_peers);
        let expected_peers = wanted.expected_peers.clone();
        self.take_link_settings(LinkReload { keys, expected_peers, peers });
        tracing::info!("the link has other keys and peers, or the same ones, as was asked for");
        Ok(())
    }

    /// Starts the link if its sockets were opened.
    pub(super) fn take_opened_link(&mut self) {
        let Some(opener) = &mut self.opener else { return };
        let Some(Opened { target, request, options, start }) = opener.take_opened() else { return };
        // Whoever says goodbye to the other brokers has come by already.
        let start = if self.is_shutting_down() { Err(ENDING.to_owned()) } else { start };
        let started = start.and_then(|start| {
            let streams = Arc::new(StreamMap::new(&start.config));
            let started = self.start_link(start);
            started.map(|()| streams).map_err(|error| format!("cannot use the sockets: {error}"))
        });
        match started {
            Ok(streams) => {
                self.opened = Some(options);
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
        let answer = if text.is_empty() { Ok(DONE) } else { Err(text) };
        self.answer_request(target, request, answer);
    }
}
