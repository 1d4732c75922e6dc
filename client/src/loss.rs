//! Events that are missing, as those who pull are told.

use std::fmt;

use netcluster_wire::{LossReason, Source};

use crate::message::OwnedMessage;

/// Events are missing here: some that the subscription would have had, perhaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lost {
    /// Whose; `None` if several or unknown.
    pub source: Option<Source>,
    /// The number of missing events, of the whole client; `None` if unknown.
    pub count: Option<u64>,
    /// Why; of the latest, if there are several.
    pub reason: LossReason,
}

impl Lost {
    /// This loss and another right behind it.
    fn merge(&mut self, other: Lost) {
        self.source = self.source.filter(|source| other.source == Some(*source));
        let counts = self.count.zip(other.count);
        self.count = counts.and_then(|(one, two)| one.checked_add(two));
        self.reason = other.reason;
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            Some(count) => write!(formatter, "{count} events")?,
            None => formatter.write_str("an unknown number of events")?,
        }
        if let Some(source) = self.source {
            write!(formatter, " of {source}")?;
        }
        write!(formatter, " are missing here ({:?})", self.reason)
    }
}

impl std::error::Error for Lost {}

/// An item of a subscription's queue.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Message(OwnedMessage),
    Lost(Lost),
}

impl Item {
    /// Bytes that this item counts for in a bounded queue.
    pub(crate) fn cost_bytes(&self) -> usize {
        match self {
            Item::Message(message) => message.cost_bytes(),
            Item::Lost(_) => 0,
        }
    }

    /// Appends a loss to this item, which takes it in if it is one itself: so a queue has
    /// no two in a row, however often something is lost.
    pub(crate) fn take_in(&mut self, lost: Lost) -> bool {
        match self {
            Item::Message(_) => false,
            Item::Lost(before) => {
                before.merge(lost);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_in_a_row_become_one_that_claims_no_more_than_is_known() {
        let source = Some(Source { node: 1, client: 2 });
        let lost = |source, count| Lost { source, count, reason: LossReason::Overflow };
        let mut item = Item::Lost(lost(source, Some(3)));
        assert!(item.take_in(lost(source, Some(4))));
        let Item::Lost(both) = item.clone() else { panic!("{item:?}") };
        assert_eq!(both, lost(source, Some(7)));
        assert!(item.take_in(lost(None, None)));
        let Item::Lost(all) = item else { panic!("{item:?}") };
        assert_eq!(all, lost(None, None));
        assert_eq!(all.to_string(), "an unknown number of events are missing here (Overflow)");
    }
}
