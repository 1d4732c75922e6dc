//! Output of the link for the broker: events in their order, and warnings among them.

use core::net::SocketAddr;
use std::collections::VecDeque;

use netcluster_platform::Instant;

use crate::event::LinkEvent;
use crate::warnings::{WarningKind, Warnings};

/// Events for the broker. It takes all of them after each call, so that they are no
/// more than one call makes.
#[derive(Default)]
pub(crate) struct Output {
    pub events: VecDeque<LinkEvent>,
    pub warnings: Warnings,
}

impl Output {
    pub fn push(&mut self, event: LinkEvent) {
        self.events.push_back(event);
    }

    /// Warns of a broker at an address, unless the same was told just now.
    pub fn warn(
        &mut self,
        now: Instant,
        kind: WarningKind,
        from: SocketAddr,
        text: impl FnOnce() -> String,
    ) {
        if self.warnings.allow(now, kind, from.ip()) {
            let text = text();
            self.push(LinkEvent::Warn(kind, text));
        }
    }
}
