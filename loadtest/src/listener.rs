//! Process that listens: a plain `on` of the client, with a listener that checks and
//! counts.

use std::sync::Arc;

use anyhow::Result;
use netcluster_client::Message;

use crate::delivery_check::DeliveryCheck;
use crate::message::{Command, Report, next_command, report};
use crate::meter::Meter;
use crate::plan::ListenerPlan;
use crate::stamp::{self, Template};

/// Listens until told to quit.
pub fn run(plan: ListenerPlan) -> Result<()> {
    let client = Arc::new(plan.transport.client(&plan.name).connect(&plan.socket)?);
    let (event, name) = plan.event;
    let template = Arc::new(Template::new(plan.size));
    let check = DeliveryCheck::new(event, plan.emitters, template, plan.verify_full);
    let meter = Arc::new(Meter::new(vec![check]));
    let counted = Arc::clone(&meter);
    if let Some(reply) = plan.reply {
        let answerer = Arc::clone(&client);
        client.on(&name, move |message: &Message<'_>| {
            counted.check(0).record(message.payload());
            if let Err(error) = answerer.emit(&reply, message.payload()) {
                report(&Report::Failed(error.to_string()));
            }
        })?;
    } else if plan.timed {
        client.on(&name, move |message: &Message<'_>| {
            if counted.check(0).record(message.payload()) {
                stamp::intended_ns(message.payload()).into_iter().for_each(|at| {
                    counted.record_latency(at);
                });
            }
        })?;
    } else {
        client.on(&name, move |message: &Message<'_>| {
            counted.check(0).record(message.payload());
        })?;
    }
    report(&Report::Ready { driver: None });
    answer_commands(&meter);
    Ok(())
}

/// Answers commands with the meter's counts until told to quit.
pub fn answer_commands(meter: &Meter) {
    loop {
        match next_command() {
            Command::Sample => report(&Report::Sample(meter.sample())),
            Command::Finish(totals) => {
                let (counts, sample) = meter.finish(&totals);
                report(&Report::Finished { counts, sample });
            }
            Command::Go | Command::Stop => {}
            // Not by returning: a client that is dropped says goodbye, and a
            // relay has no answer to that.
            Command::Quit => std::process::exit(0),
        }
    }
}
