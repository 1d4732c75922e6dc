//! Interest: the channels that are listened to here, what peers want, and from where on
//! streams are joined.

pub(crate) mod joining;
pub(crate) mod local_channels;
pub(crate) mod told;
pub(crate) mod versions;
pub(crate) mod wants;

use netcluster_platform::Instant;
use netcluster_wire::control::LossReason;
use netcluster_wire::link::{ControlKind, Interest};

use crate::control::control_sender::ControlSender;
use crate::event::{LinkEvent, Lost};
use crate::membership::departed::DepartedSessions;
use crate::membership::peer::Peer;
use crate::output::Output;
use crate::receive::inbound_stream::{InboundStream, MAX_COUNTED};
use crate::stream::{Position, StreamId};

use self::local_channels::LocalChannels;
use self::versions::InterestVersions;

/// Interest of this broker: what its listeners want, and how often that changed.
pub(crate) struct LocalInterest {
    pub channels: LocalChannels,
    pub versions: InterestVersions,
}

impl LocalInterest {
    pub fn new() -> LocalInterest {
        LocalInterest { channels: LocalChannels::new(), versions: InterestVersions::default() }
    }

    /// Sends a peer the interest if it is time: the one that the peer has not answered,
    /// or a new one.
    pub fn send_to(&mut self, now: Instant, peer: &mut Peer, control: &mut ControlSender) {
        let told = &mut peer.told;
        if told.is_again_due(now) {
            let groups = self.channels.groups;
            // Of those that are not wanted nothing would ever be heard.
            peer.liveness.deaf_groups &= groups;
            let hears = peer.liveness.is_multicast_heard(now);
            let version = self.versions.next_told();
            told.renew(now, version, self.versions.version(), groups, hears);
        }
        if told.is_due(now) {
            let interest = Interest {
                to: peer.session,
                version: told.version,
                hears_multicast: told.hears,
                fresh: told.fresh,
                groups: told.groups,
                time_ns: now.as_nanos(),
            };
            control.send_to(ControlKind::Interest, peer.address, |out| interest.encode(out));
        }
    }

    /// Tells listeners what a session that is younger than their wish emitted before it
    /// knew of them: they had the session from its start on, so that this, which its
    /// ordinals count, is lost to them. The session began at `born_at` or later.
    pub fn report_missed(
        &self,
        peer: &mut Peer,
        streams: &[(StreamId, Position)],
        born_at: Instant,
        departed: &DepartedSessions,
        output: &mut Output,
    ) {
        for &(stream, join) in streams {
            let has_left = |inbound: &InboundStream| {
                inbound.stream == stream && inbound.has_left && inbound.join != join
            };
            if departed.had_left(&peer.session, stream) || peer.inbound.iter().any(has_left) {
                // It is there after all: the goodbye was not its own, and nobody was told.
                peer.counters.losses_unknown += 1;
                output.push(LinkEvent::Lost(Lost {
                    node: peer.identity.node,
                    stream,
                    channel: None,
                    count: None,
                    reason: LossReason::Peer,
                }));
            }
            let is_known = peer.inbound.iter().any(|inbound| inbound.stream == stream)
                || departed.had_joined(&peer.session, stream);
            if join.ordinal == 0 || is_known {
                continue;
            }
            let count = Some(join.ordinal).filter(|count| *count <= MAX_COUNTED);
            let channels = self.channels.wanted_before(stream, born_at);
            if !channels.is_empty() {
                match count {
                    Some(count) => peer.counters.events_lost += count,
                    None => peer.counters.losses_unknown += 1,
                }
            }
            for channel in channels {
                output.push(LinkEvent::Lost(Lost {
                    node: peer.identity.node,
                    stream,
                    channel: Some(channel),
                    count,
                    reason: LossReason::Link,
                }));
            }
        }
    }
}
