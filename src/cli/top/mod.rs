//! `netcluster top`: a broker at work, on a terminal.
//!
//! ```text
//!   asker: totals, a page ─▶ samples ─▶ views ─▶ screen ─▶ terminal
//!      ▲                                  ▲                   │ keys
//!      └────────── what is wanted ──── controls ◀─────────────┘
//! ```
//! - `asker`: the connection to the broker, on a thread of its own, so that keys are heard
//!   while the broker does not answer.
//! - `samples`: the last look at the broker, and what grew since the one before.
//! - `controls`: choices that were made by keys.
//! - `views`: columns and rows of what can be looked at; `cells`: what they are made of.
//! - `screen`: where all of it is drawn.
//!
//! It asks for totals and one page of what is shown, so that a broker with very many clients
//! has no more to do. The terminal is as before when it ends, also by a signal or a panic.
//!
//! Decision: `docs/decisions/074-top-asks-for-a-page.md`.

mod asker;
mod cells;
mod controls;
mod samples;
mod screen;
mod views;

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use ratatui::DefaultTerminal;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{self, Event};
use ratatui::layout::Rect;

use super::args::SocketArgs;
use super::failure::Failure;
use super::page::terminal_chars;
use super::signals;
use super::status::print;
use super::values;

use asker::{Asker, Broker};
use controls::{Act, Controls};
use samples::Samples;
use screen::Screen;
use views::View;

/// Longest wait for a key: answers and signals are noticed by then.
const TICK: Duration = Duration::from_millis(100);

/// Time between two drawings of which nothing has changed but the time.
const REDRAW: Duration = Duration::from_secs(1);

/// Time that the terminal has to be made as before, until a second signal ends it all.
const RESTORE: Duration = Duration::from_secs(2);

/// Shortest time between two looks.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// Width of what is printed once, if it goes to no terminal.
const ONCE_CHARS: usize = 100;

const EXAMPLES: &str = "\
Keys:
  1 to 6, Tab       clients, slow listeners, channels, peers, losses, shards
  < >, left, right  sort by another column
  r                 the other way round
  /                 only rows with this text; Enter keeps it, Esc drops it
  up, down          scroll; also j and k, page up and down, Home, End
  space             stand still, and go on
  + -               look less or more often
  ?                 help
  q, Ctrl-C         end

Rates are those since the look before. Of very many clients it has the 200 that have most of what
they are sorted by, since they connected (1000 with a filter); by none of that by their numbers.

Examples:
  netcluster top
  netcluster top --view slow --interval 5s
  ssh db1 -t netcluster top
  netcluster top --once --view losses           prints, for a script or a mail";

/// `netcluster top`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TopArgs {
    /// Time between two looks
    #[arg(long, short, value_name = "DURATION", value_parser = interval, default_value = "1s")]
    pub interval: Duration,
    /// What to show first
    #[arg(long, default_value = "clients")]
    pub view: View,
    /// Sort by this column of it, most first, or A to Z: its title, without the `/s`
    #[arg(long, value_name = "COLUMN")]
    pub sort: Option<String>,
    /// Only rows with this text, in capitals or not
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub filter: String,
    /// Print it once, with the rates of one interval, and end; for that it needs no terminal
    #[arg(long)]
    pub once: bool,
    /// The broker.
    #[command(flatten)]
    pub socket: SocketArgs,
}

fn interval(text: &str) -> Result<Duration, String> {
    match values::duration(text)? {
        interval if interval >= MIN_INTERVAL => Ok(interval),
        _ => Err(format!("at least {MIN_INTERVAL:?}")),
    }
}

/// Shows the broker until a key or a signal ends it.
pub fn run(args: TopArgs) -> Result<(), Failure> {
    let has_terminal = io::stdout().is_terminal() && io::stdin().is_terminal();
    if !args.once && !has_terminal {
        return Err(Failure::usage(
            "top needs a terminal; `netcluster top --once` prints, `netcluster status --totals \
             --json` and `netcluster clients --json` are for programs",
        ));
    }
    let mut controls = Controls::new(args.view, args.interval, args.filter);
    if let Some(column) = &args.sort {
        controls.sort_by(column).map_err(Failure::usage)?;
    }
    // A broker that is not there is told before the screen is taken.
    let mut broker = Broker::new(args.socket);
    let mut samples = Samples::default();
    samples.add(broker.look(controls.wanted())?);
    if args.once {
        thread::sleep(args.interval);
        samples.add(broker.look(controls.wanted())?);
        return print(&once(&controls, &samples));
    }
    on_terminal(controls, samples, Asker::start(broker)?)
}

/// Writes what fits into no terminal: all rows, without the keys.
fn once(controls: &Controls, samples: &Samples) -> String {
    let width = terminal_chars();
    let width = if width == usize::MAX { ONCE_CHARS } else { width };
    let screen = Screen { controls, samples, now: Instant::now(), is_printed: true };
    let width = u16::try_from(width).unwrap_or(u16::MAX);
    let area = Rect::new(0, 0, width, screen.height_of_all());
    let mut buffer = Buffer::empty(area);
    screen.render(area, &mut buffer);
    let cells = buffer.content().chunks(usize::from(width).max(1));
    let lines = cells.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>());
    lines.map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Shows the broker on the terminal.
fn on_terminal(
    mut controls: Controls,
    mut samples: Samples,
    mut asker: Asker,
) -> Result<(), Failure> {
    with_terminal(|terminal, is_over| {
        watch(terminal, &mut controls, &mut samples, &mut asker, is_over)
    })
}

/// Does something with the terminal until a signal asks for the end, and gives it back.
fn with_terminal(
    work: impl FnOnce(&mut DefaultTerminal, &AtomicBool) -> io::Result<()>,
) -> Result<(), Failure> {
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    let (restored, is_restored) = mpsc::channel::<()>();
    signals::on_first(move |_| {
        over.store(true, Ordering::Relaxed);
        // A second signal ends the process, which must not leave the terminal as it is.
        let _ = is_restored.recv_timeout(RESTORE);
    })?;
    let mut terminal = ratatui::try_init().map_err(|error| cannot(&error))?;
    let result = work(&mut terminal, &is_over);
    ratatui::restore();
    drop(restored);
    match result {
        // The terminal may be gone, which is told by a signal as well.
        Err(_) if is_over.load(Ordering::Relaxed) => Ok(()),
        result => result.map_err(|error| cannot(&error)),
    }
}

fn cannot(error: &io::Error) -> Failure {
    Failure::other(format_args!("cannot use the terminal: {error}"))
}

fn watch(
    terminal: &mut DefaultTerminal,
    controls: &mut Controls,
    samples: &mut Samples,
    asker: &mut Asker,
    is_over: &AtomicBool,
) -> io::Result<()> {
    let mut drawn: Option<Instant> = None;
    while !is_over.load(Ordering::Relaxed) {
        if asker.ask(controls, samples)? {
            drawn = None;
        }
        let now = Instant::now();
        if drawn.is_none_or(|drawn| now.saturating_duration_since(drawn) >= REDRAW) {
            let screen = Screen { controls, samples, now, is_printed: false };
            terminal.draw(|frame| screen.render(frame.area(), frame.buffer_mut()))?;
            drawn = Some(now);
        }
        let mut wait = TICK;
        while event::poll(wait)? {
            // What was typed meanwhile is drawn once.
            (wait, drawn) = (Duration::ZERO, None);
            let Event::Key(key) = event::read()? else { continue };
            match controls.key(key, samples) {
                Act::Nothing => {}
                Act::Redraw => terminal.clear()?,
                Act::Suspend => suspend(terminal)?,
                Act::End => return Ok(()),
            }
        }
    }
    Ok(())
}

/// Lets the shell go on, as Ctrl-Z asks for, until it puts this into the foreground again.
#[cfg(unix)]
fn suspend(terminal: &mut DefaultTerminal) -> io::Result<()> {
    ratatui::try_restore()?;
    signal_hook::low_level::raise(signal_hook::consts::SIGTSTP)?;
    *terminal = ratatui::try_init()?;
    Ok(())
}

#[cfg(not(unix))]
fn suspend(_terminal: &mut DefaultTerminal) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
