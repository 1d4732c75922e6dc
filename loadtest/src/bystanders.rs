//! Bystanders of a run: processes that are not measured, to see what they do to those that
//! are.
//!
//! Slow and stuck listeners have an emitter each that emits more than fits into any queue;
//! the pair beside emits and listens at full speed, by a transport of its own, and its
//! events are checked.

use std::path::Path;

use crate::plan::{
    BESIDE_EVENT, EmitterPlan, ListenerPlan, Role, SLOW_EVENT, STUCK_EVENT, Scenario,
    StuckClientPlan,
};
use crate::transport::Transport;

/// Bytes that the emitters of slow and stuck listeners emit: more than fits into any
/// queue, so that they are paused for the whole run; but not endless, since once the
/// stuck one is disconnected they would take a core from the others.
const EXTRA_BYTES: u64 = 64 << 20;
const EXTRA_SIZE: usize = 1000;
/// Bytes per second that the slow reader reads.
const SLOW_BYTES_PER_S: u64 = 1000;
const BESIDE_SIZE: usize = 1000;

/// Returns the roles of listeners that are slow, stuck, or have patterns alone.
pub fn listeners(scenario: &Scenario, socket: &Path) -> Vec<Role> {
    let stuck_client = |name: &str, event: Option<&str>, read_bytes_per_s, patterns| {
        Role::StuckClient(StuckClientPlan {
            socket: socket.to_owned(),
            name: name.into(),
            transport: scenario.transport,
            event: event.map(Into::into),
            read_bytes_per_s,
            patterns,
        })
    };
    let mut roles = Vec::new();
    if scenario.patterns > 0 {
        roles.push(stuck_client("patterns", None, 0, scenario.patterns));
    }
    if scenario.slow_reader {
        roles.push(stuck_client("slow-reader", Some(SLOW_EVENT), SLOW_BYTES_PER_S, 0));
    }
    if scenario.stuck {
        roles.push(stuck_client("stuck", Some(STUCK_EVENT), 0, 0));
    }
    roles
}

/// Returns the roles of those who emit to slow and stuck listeners.
pub fn emitters(scenario: &Scenario, socket: &Path) -> Vec<Role> {
    let emitter = |event: &str| {
        Role::Emitter(EmitterPlan {
            socket: socket.to_owned(),
            name: format!("{event}-emitter"),
            transport: scenario.transport,
            index: 0,
            events: vec![(0, event.into())],
            size: EXTRA_SIZE,
            rate: None,
            count: Some(EXTRA_BYTES / EXTRA_SIZE as u64),
            reply: None,
            inject: None,
        })
    };
    let wanted = [(scenario.slow_reader, SLOW_EVENT), (scenario.stuck, STUCK_EVENT)];
    wanted.iter().filter(|(wanted, _)| *wanted).map(|(_, event)| emitter(event)).collect()
}

/// Returns the roles of the listener and the emitter of the pair beside.
pub fn beside(scenario: &Scenario, socket: &Path) -> Option<[Role; 2]> {
    let transport = Transport { shared_memory: scenario.beside?, spin_us: 0 };
    let event = (0, BESIDE_EVENT.to_owned());
    let listener = ListenerPlan {
        socket: socket.to_owned(),
        name: "beside-listener".into(),
        transport,
        event: event.clone(),
        emitters: 1,
        size: BESIDE_SIZE,
        verify_full: scenario.verify_full,
        timed: false,
        reply: None,
    };
    let emitter = EmitterPlan {
        socket: socket.to_owned(),
        name: "beside-emitter".into(),
        transport,
        index: 0,
        events: vec![event],
        size: BESIDE_SIZE,
        rate: None,
        count: None,
        reply: None,
        inject: None,
    };
    Some([Role::Listener(listener), Role::Emitter(emitter)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::SharedMemory;

    #[test]
    fn nobody_stands_by_unless_it_is_asked_for() {
        let plain = Scenario::default();
        let socket = Path::new("s");
        assert!(listeners(&plain, socket).is_empty() && emitters(&plain, socket).is_empty());
        assert!(beside(&plain, socket).is_none());
    }

    #[test]
    fn the_pair_beside_has_a_transport_of_its_own_and_the_others_that_of_the_clients() {
        let beside_by = |choice| Scenario {
            slow_reader: true,
            stuck: true,
            beside: Some(choice),
            transport: Transport::SOCKETS,
            ..Scenario::default()
        };
        for choice in [SharedMemory::Auto, SharedMemory::Off] {
            let scenario = beside_by(choice);
            let roles = beside(&scenario, Path::new("s")).unwrap();
            let transports = roles.map(|role| match role {
                Role::Listener(plan) => plan.transport.shared_memory,
                Role::Emitter(plan) => plan.transport.shared_memory,
                other => panic!("{other:?}"),
            });
            assert_eq!(transports, [choice; 2]);
            let stuck = listeners(&scenario, Path::new("s"));
            assert_eq!(stuck.len(), 2);
            assert!(stuck.iter().all(|role| match role {
                Role::StuckClient(plan) => plan.transport == Transport::SOCKETS,
                _ => false,
            }));
        }
    }
}
