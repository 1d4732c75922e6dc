//! Publish and subscribe of iceoryx2 as an emitter and a listener use it.
//!
//! ```text
//!   publish ─ loan, copy, send ══ data of the publisher ══► receive ─ each(payload)
//!           └ notify ─────────── event service ───────────► timed_wait, if there is none
//! ```
//! Settings that lose nothing: no overflow, and a publisher that waits for a subscriber
//! whose buffer is full. Each topic is a service with one publisher. Where subscribers
//! sleep, each event is followed by a notification, as the library's examples do it: that
//! many events make one message would be for its user to arrange, and is not done here.
//! Where they poll, nobody is notified, and a subscriber that finds nothing lets others
//! have its core.
//!
//! A publisher drops events of which a subscriber that has not looked yet does not take
//! notice. So it sends a greeting first, and waits until each subscriber has answered.
//!
//! Invariant: no event is sent before all subscribers of its topic were greeted, but of a
//! reply, which is one event that fits into any buffer.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use iceoryx2::node::Node;
use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;
use iceoryx2::service::port_factory::{event, publish_subscribe};
use netcluster_loadtest::peers::Wanted;
use netcluster_peers::connection::{Connection, Received};
use netcluster_peers::{Address, Domain, Waiting};

/// Bytes of events that a subscriber's buffer holds, within the limits below.
const BUFFER_BYTES: usize = 1 << 20;
const MIN_BUFFER_EVENTS: usize = 16;
const MAX_BUFFER_EVENTS: usize = 4096;
/// Most events that are received in one go.
const MAX_BATCH: usize = 1024;
/// Payload of a greeting, which is shorter than any event's.
const GREETING: &[u8] = &[0];
/// Longest wait for the answers to a greeting.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for an event.
const EVENT_TIMEOUT: Duration = Duration::from_secs(3);

type Service = ipc::Service;

/// Process's part of the domain.
pub struct Bus {
    domain: Domain,
    node: Node<Service>,
    outlets: Vec<Outlet>,
    last: usize,
    inlet: Option<Inlet>,
}

/// Publisher of a topic.
struct Outlet {
    topic: String,
    publisher: Publisher<Service, [u8], ()>,
    notifier: Option<Notifier<Service>>,
    answers: Listener<Service>,
    greeted: bool,
}

/// Subscriber of a topic.
struct Inlet {
    subscriber: Subscriber<Service, [u8], ()>,
    /// Listener for notifications; `None`: it polls.
    listener: Option<Listener<Service>>,
    answer: Notifier<Service>,
}

impl Bus {
    /// Joins the domain, and makes the publishers.
    pub fn connect(wanted: Wanted) -> Result<Bus> {
        let Address::Domain(domain) = wanted.address else { bail!("iceoryx2 has no server") };
        set_log_level(LogLevel::Error);
        let mut config = Config::default();
        config.global.set_root_path(&domain.directory.to_string_lossy().as_ref().try_into()?);
        config.global.prefix = domain.prefix.as_str().try_into()?;
        // A node that has died ends the run, which removes the domain.
        config.global.node.cleanup_dead_nodes_on_creation = false;
        config.global.service.cleanup_dead_nodes_on_open = false;
        let node = NodeBuilder::new()
            .config(&config)
            .signal_handling_mode(SignalHandlingMode::Disabled)
            .create::<Service>()?;
        let mut bus = Bus { domain, node, outlets: Vec::new(), last: 0, inlet: None };
        for topic in wanted.publishes {
            bus.outlets.push(bus.outlet(topic)?);
        }
        Ok(bus)
    }

    fn outlet(&self, topic: String) -> Result<Outlet> {
        let events = self.events(&topic)?;
        let publisher = events
            .publisher_builder()
            .initial_max_slice_len(self.domain.payload_bytes)
            .max_loaned_samples(1)
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()?;
        let notifier = match self.domain.waiting {
            Waiting::Asleep => Some(self.notifications(&topic)?.notifier_builder().create()?),
            Waiting::Polling => None,
        };
        let answers = self.notifications(&answers_to(&topic))?.listener_builder().create()?;
        Ok(Outlet { topic, publisher, notifier, answers, greeted: false })
    }

    /// Opens the service of a topic's events.
    fn events(&self, topic: &str) -> Result<publish_subscribe::PortFactory<Service, [u8], ()>> {
        let buffer = BUFFER_BYTES / self.domain.payload_bytes.max(1);
        let service = self.node.service_builder(&topic.try_into()?).publish_subscribe::<[u8]>();
        let service = service
            .enable_safe_overflow(false)
            .subscriber_max_buffer_size(buffer.clamp(MIN_BUFFER_EVENTS, MAX_BUFFER_EVENTS))
            .subscriber_max_borrowed_samples(1)
            .history_size(0)
            .max_publishers(1)
            .max_subscribers(self.domain.subscribers)
            .max_nodes(self.domain.subscribers + 1);
        service.open_or_create().with_context(|| format!("the service {topic}"))
    }

    /// Opens a service of notifications: from one to all subscribers, or the other way
    /// round.
    fn notifications(&self, name: &str) -> Result<event::PortFactory<Service>> {
        let service = self.node.service_builder(&name.try_into()?).event();
        let service = service
            .max_notifiers(self.domain.subscribers)
            .max_listeners(self.domain.subscribers)
            .max_nodes(self.domain.subscribers + 1);
        service.open_or_create().with_context(|| format!("the service {name}"))
    }

    /// Returns the publisher's place. Topics take turns, so it is looked for behind the
    /// last one.
    #[inline]
    fn outlet_of(&mut self, topic: &str) -> Result<&Outlet> {
        if self.outlets.get(self.last).is_none_or(|outlet| outlet.topic != topic) {
            let place = self.outlets.iter().position(|outlet| outlet.topic == topic);
            self.last = place.with_context(|| format!("{topic} is not published here"))?;
        }
        Ok(&self.outlets[self.last])
    }
}

fn answers_to(topic: &str) -> String {
    format!("answers to {topic}")
}

impl Outlet {
    #[inline]
    fn send(&self, payload: &[u8]) -> Result<()> {
        let sample = self.publisher.loan_slice_uninit(payload.len())?;
        sample.write_from_slice(payload).send()?;
        if let Some(notifier) = &self.notifier {
            notifier.notify()?;
        }
        Ok(())
    }

    /// Greets all subscribers, and waits for their answers.
    fn greet(&mut self, subscribers: usize) -> Result<()> {
        self.send(GREETING)?;
        let deadline = Instant::now() + GREETING_TIMEOUT;
        let mut answered = 0;
        while answered < subscribers as u64 {
            let left = deadline.saturating_duration_since(Instant::now());
            ensure!(!left.is_zero(), "{answered} of {subscribers} subscribers answer");
            self.answers.timed_wait(|answer| answered += answer.count, left)?;
        }
        self.greeted = true;
        Ok(())
    }
}

impl Inlet {
    /// Waits until there may be events; returns whether it was not for too long.
    fn wait(&self, deadline: Instant) -> Result<bool> {
        match &self.listener {
            Some(listener) => {
                let left = deadline.saturating_duration_since(Instant::now());
                listener.timed_wait(|_| (), left)?;
            }
            None => thread::yield_now(),
        }
        Ok(Instant::now() < deadline)
    }
}

impl Connection for Bus {
    fn subscribe(&mut self, topic: &str) -> Result<()> {
        let listener = match self.domain.waiting {
            Waiting::Asleep => Some(self.notifications(topic)?.listener_builder().create()?),
            Waiting::Polling => None,
        };
        let answer = self.notifications(&answers_to(topic))?.notifier_builder().create()?;
        let subscriber = self.events(topic)?.subscriber_builder().create()?;
        self.inlet = Some(Inlet { subscriber, listener, answer });
        Ok(())
    }

    #[inline]
    fn publish(&mut self, topic: &str, payload: &[u8]) -> Result<()> {
        self.outlet_of(topic)?.send(payload)
    }

    /// Does nothing: each event is sent by itself.
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    /// Greets the subscribers that were not greeted yet. Nothing tells a publisher what
    /// was read; who waits for events counts them.
    fn fence(&mut self) -> Result<()> {
        let subscribers = self.domain.subscribers;
        let mut new = self.outlets.iter_mut().filter(|outlet| !outlet.greeted);
        new.try_for_each(|outlet| outlet.greet(subscribers))
    }

    fn receive(&mut self, mut each: impl FnMut(&[u8])) -> Result<Received> {
        let inlet = self.inlet.as_ref().context("this connection does not listen")?;
        let mut deadline = None;
        loop {
            let mut events = 0;
            while events < MAX_BATCH
                && let Some(sample) = inlet.subscriber.receive()?
            {
                if sample.payload() == GREETING {
                    inlet.answer.notify()?;
                } else {
                    each(sample.payload());
                    events += 1;
                }
            }
            if events > 0 {
                return Ok(Received::Events(events));
            }
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + EVENT_TIMEOUT);
            if !inlet.wait(deadline)? {
                return Ok(Received::Nothing);
            }
        }
    }
}
