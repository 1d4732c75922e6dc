//! Clients that ask who would get an event: what `emit --verbose` tells. An event itself
//! is counted by nobody on its way.
//!
//! Decision: `docs/decisions/045-audience-is-asked.md`.

use netcluster_platform::{Conn, Io};
use netcluster_wire::control::{Audience, encode_audience};
use netcluster_wire::{ErrorCode, Kind, frame};

use crate::mesh::Message;
use crate::target::{LINK_HOME, Target};
use netcluster_link::channel::ChannelHash;

use super::Shard;

impl<I: Io> Shard<I> {
    /// Counts for a client who would get an event of this name from it. Returns false
    /// if the route is not found yet.
    pub(super) fn count_audience(&mut self, conn: Conn, request: u64, name: &[u8]) -> bool {
        let connection = self.connections.at(conn);
        let (asking, echo) = (connection.target, connection.echo);
        let Some(channel) = connection.channel else { return true };
        if !connection.may_emit(name) {
            let text = self.why_not_emit(conn, name);
            self.reply_error(conn, ErrorCode::Forbidden, request, &text);
            return true;
        }
        let route = match self.router.find(channel, name) {
            Ok(Some(id)) => self.router.channels.get(channel).routes.get(id).clone(),
            Ok(None) => return false,
            Err(error) => {
                self.refuse(conn, ErrorCode::Name, &format!("event name: {error}"));
                return true;
            }
        };
        let hears = |target: &&Target| echo || **target != asking;
        let clients = route.clients().iter().filter(hears).count() as u64;
        match route.link() {
            Some(channel) => self.count_elsewhere(asking, request, clients, channel),
            None => self.audience_counted(asking, request, Audience { clients, brokers: 0 }),
        }
        true
    }

    /// Adds the brokers of other machines to the clients that listen here.
    pub(super) fn count_elsewhere(
        &mut self,
        target: Target,
        request: u64,
        clients: u64,
        channel: ChannelHash,
    ) {
        let Some(driver) = self.link.as_deref() else {
            let message = Message::AudienceWanted { target, request, clients, channel };
            self.mesh.send(LINK_HOME, message);
            return;
        };
        let brokers = driver.link.takers(channel) as u64;
        let audience = Audience { clients, brokers };
        if target.shard == self.id {
            self.audience_counted(target, request, audience);
        } else {
            self.mesh.send(target.shard, Message::AudienceCounted { target, request, audience });
        }
    }

    /// Tells a client the audience that it asked for.
    pub(super) fn audience_counted(&mut self, target: Target, request: u64, audience: Audience) {
        let Some(connection) = self.connections.find_open(target) else { return };
        let source = connection.source;
        let payload = encode_audience(audience);
        let answer = frame::encode(Kind::Audience, source, request, b"", &payload);
        self.reply(target.conn, &answer);
    }
}
