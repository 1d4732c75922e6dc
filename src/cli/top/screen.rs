//! Screen of `top`: lines about the broker, the names of the views, a table, and the keys.
//!
//! Invariant: it draws what fits, whatever the size of the terminal.

use std::cmp::Ordering;
use std::time::Instant;

use netcluster::status::Status;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use crate::cli::render::escaped;
use crate::cli::status::{bytes, uptime};

use super::cells::{Column, Mood, Row, Rows, short};
use super::controls::Controls;
use super::samples::{Look, Samples};
use super::views::View;

/// Width of the space between columns.
const GAP: u16 = 1;

/// Least width of a column that shares what is left.
const MIN_SHARE: u16 = 8;

/// Lines about the broker, and of what is around the rows, that a screen has if they leave
/// room for so many rows.
const MIN_ROWS: u16 = 8;

const KEYS: &str = "q end  ? help  1-6 view  < > sort  r reverse  / filter  space pause  + - time";

const HELP: &str = "\
1 to 6, Tab       what to look at: clients, slow listeners, channels, peers, ...
< >, left, right  sort by another column
r                 the other way round
/                 only rows with this text; Enter keeps it, Esc drops it
up, down          scroll; also j and k, page up and down, Home, End
space             stand still, and go on
+ -               look less or more often
Ctrl-L, Ctrl-Z    draw all anew; suspend
q, Ctrl-C         end

IN, OUT     events emitted and queued, in a second, since the look before
QUEUED      what waits to be sent to a client; once that is FULL emitters wait
LOST        events that a client lost, by `latest`; of peers, by the network
AGAIN       datagrams sent to a peer once more; TRIP: time to it and back";

/// Screen that is drawn.
pub struct Screen<'a> {
    /// Choices that were made.
    pub controls: &'a Controls,
    /// Looks at the broker.
    pub samples: &'a Samples,
    /// The present time.
    pub now: Instant,
    /// Whether it is printed, all of it, and no key is heard.
    pub is_printed: bool,
}

/// Returns the rows of the view that is shown, filtered and sorted.
pub fn rows(controls: &Controls, samples: &Samples) -> Rows {
    let mut all = controls.view.rows(samples);
    let filter = controls.filter.to_lowercase();
    all.rows.retain(|row| row.has(&filter));
    let sort = controls.sort();
    let order = |one: &Row, other: &Row| -> Ordering {
        let order = one.cells[sort.column].order(&other.cells[sort.column]);
        if sort.is_ascending { order } else { order.reverse() }
    };
    all.rows.sort_by(order);
    all
}

impl Screen<'_> {
    /// Returns the height at which all rows are there, without the keys.
    pub fn height_of_all(&self) -> u16 {
        let rows = rows(self.controls, self.samples).rows.len().max(1);
        u16::try_from(rows).unwrap_or(u16::MAX).saturating_add(self.head().len() as u16 + 2)
    }

    /// Draws.
    pub fn render(&self, area: Rect, buffer: &mut Buffer) {
        let mut lines = Lines { area, buffer, at: 0 };
        let head = self.head();
        let is_roomy = area.height >= head.len() as u16 + MIN_ROWS || self.is_printed;
        let shown = if is_roomy { head.len() } else { head.len().min(1) };
        for (line, style) in &head[..shown] {
            lines.put(line, *style);
        }
        let has_foot = area.height > head.len() as u16 + MIN_ROWS || self.controls.is_typing;
        if has_foot && !self.is_printed && area.height > lines.at + 1 {
            lines.foot(&self.foot(), dim());
        }
        let rows = rows(self.controls, self.samples);
        self.tabs(&mut lines, &rows);
        if self.controls.is_help {
            HELP.lines().for_each(|line| lines.put(line, Style::new()));
        } else {
            self.table(&mut lines, &rows);
        }
    }

    /// Returns the lines about the broker.
    fn head(&self) -> Vec<(String, Style)> {
        let mut lines = Vec::new();
        let samples = self.samples;
        if let Some((since, reason)) = &samples.trouble {
            let seconds = self.now.saturating_duration_since(*since).as_secs();
            let text = format!("NO ANSWER for {seconds} s: {}", escaped(reason));
            lines.push((text, bold().red().reversed()));
        }
        let Some(look) = &samples.last else { return lines };
        let about = about(look, samples);
        let style = if lines.is_empty() { Style::new() } else { dim() };
        if lines.is_empty() {
            lines.push((self.title(&look.status), bold()));
        }
        lines.extend(about.into_iter().map(|line| (line, style)));
        lines
    }

    fn title(&self, status: &Status) -> String {
        let state = if self.controls.is_paused {
            "PAUSED".to_owned()
        } else {
            format!("every {:?}", self.controls.interval)
        };
        format!(
            "netcluster {}  node {}  pid {}  up {}  {}  {state}",
            escaped(&status.version),
            escaped(&status.node),
            status.pid,
            uptime(status.uptime_ms),
            escaped(&status.backend),
        )
    }

    fn tabs(&self, lines: &mut Lines<'_>, rows: &Rows) {
        let mut at = 0;
        for (place, view) in View::ALL.into_iter().enumerate() {
            let text = format!(" {} {} ", place + 1, view.name());
            let is_shown = view == self.controls.view;
            let style = if is_shown { bold().add_modifier(Modifier::REVERSED) } else { dim() };
            at += lines.write(at, &text, style);
        }
        let (known, omitted) = (rows.rows.len(), rows.omitted);
        let first = if known == 0 { 0 } else { self.controls.first.min(known - 1) + 1 };
        let more =
            if omitted > 0 { format!(" (+{})", short(omitted as f64)) } else { String::new() };
        let text = format!("{first}/{known}{more}");
        let width = text.chars().count() as u16;
        let start = lines.area.width.saturating_sub(width);
        if start > at {
            lines.write(start, &text, dim());
        }
        lines.at += 1;
    }

    fn table(&self, lines: &mut Lines<'_>, rows: &Rows) {
        let columns = self.controls.view.columns();
        let widths = fit(columns, lines.area.width);
        let is_number = |column: usize| match rows.rows.first() {
            Some(row) => row.cells[column].is_number(),
            None => false,
        };
        let sort = self.controls.sort();
        let mark = if sort.is_ascending { '▲' } else { '▼' };
        let titles = columns.iter().enumerate().map(|(column, it)| {
            if column == sort.column { format!("{}{mark}", it.title) } else { it.title.to_owned() }
        });
        let titles: Vec<String> = titles.collect();
        let head = bold().add_modifier(Modifier::REVERSED);
        lines.fill(head);
        lines.row(titles.iter().map(String::as_str), &widths, is_number, head);
        if rows.rows.is_empty() {
            return lines.put(self.nothing(), dim());
        }
        let first = self.controls.first.min(rows.rows.len() - 1);
        for row in &rows.rows[first..] {
            if lines.left() == 0 {
                return;
            }
            let style = match row.mood {
                Mood::Calm => Style::new(),
                Mood::Warned => Style::new().yellow(),
                Mood::Bad => bold().red(),
            };
            lines.row(row.cells.iter().map(|cell| &*cell.text), &widths, is_number, style);
        }
    }

    fn nothing(&self) -> &'static str {
        let look = self.samples.last.as_ref();
        match self.controls.view {
            _ if !self.controls.filter.is_empty() => "nothing matches the filter",
            View::Slow if look.is_some_and(|it| it.view == View::Slow) => "nobody is slow",
            View::Peers if look.is_some_and(|it| it.status.link.is_none()) => "there is no link",
            View::Peers if look.is_some_and(|it| it.view == View::Peers) => "no peers yet",
            _ => "",
        }
    }

    fn foot(&self) -> String {
        match (self.controls.is_typing, &*self.controls.filter) {
            (true, filter) => format!("filter: {}_", escaped(filter)),
            (false, "") => KEYS.to_owned(),
            (false, filter) => format!("filter: {}  (Esc drops it)", escaped(filter)),
        }
    }
}

/// Writes lines of sums and rates.
fn about(look: &Look, samples: &Samples) -> Vec<String> {
    let (status, totals) = (&look.status, &look.status.totals);
    let rate = |take: fn(&Status) -> u64| {
        samples.rate(take).map_or_else(|| "-".to_owned(), |rate| format!("{}/s", short(rate)))
    };
    let byte_rate = |take: fn(&Status) -> u64| {
        samples
            .rate(take)
            .map_or_else(|| "-".to_owned(), |rate| format!("{}/s", bytes(rate as u64)))
    };
    let mut lines = vec![
        format!(
            "events   in {}  out {}  from the link {}  unheard {}",
            rate(|it| it.totals.events_in),
            rate(|it| it.totals.events_out),
            rate(|it| it.totals.link_events_in),
            rate(|it| it.totals.events_unheard),
        ),
        format!(
            "bytes    in {}  out {}  memory {} of {}",
            byte_rate(|it| it.totals.bytes_in),
            byte_rate(|it| it.totals.bytes_out),
            bytes(status.memory.used_bytes),
            bytes(status.memory.limit_bytes),
        ),
        format!(
            "clients  {} ({} by shared memory)  patterns {}  without a hello {}",
            totals.clients, totals.shared_clients, totals.listeners, totals.silent,
        ),
        format!(
            "queues   {}  full {}  slow {}  pauses {}  dropped {}",
            bytes(totals.queued_bytes),
            totals.full,
            totals.slow,
            rate(|it| it.totals.pauses),
            rate(|it| it.totals.dropped),
        ),
    ];
    lines.push(match &status.link {
        None => "link     none".to_owned(),
        Some(link) => format!(
            "link     {} peers in {}  sent again {}  given up {}  not hearing {}",
            link.peers_total,
            escaped(&link.cluster),
            rate(|it| it.link.as_ref().map_or(0, |link| link.counters.repaired)),
            rate(|it| it.link.as_ref().map_or(0, |link| link.counters.given_up)),
            link.missing_pairs_total + link.unanswered_peers.len() + link.unlinked.len(),
        ),
    });
    lines
}

/// Returns the width of each column, 0 for those that there is no room for.
fn fit(columns: &[Column], width: u16) -> Vec<u16> {
    let mut shown: Vec<bool> = vec![true; columns.len()];
    loop {
        let is_shown = |place: &usize| shown[*place];
        let places: Vec<usize> = (0..columns.len()).filter(is_shown).collect();
        let least = |&place: &usize| match columns[place].chars {
            0 => MIN_SHARE,
            chars => chars,
        };
        let gaps = GAP * (places.len() as u16).saturating_sub(1);
        let least: u16 = places.iter().map(least).sum::<u16>() + gaps;
        let leaving = places.iter().rev().max_by_key(|&&place| columns[place].rank);
        match leaving {
            Some(&place) if least > width && columns[place].rank > 0 => shown[place] = false,
            _ => {
                let sharing = places.iter().filter(|&&place| columns[place].chars == 0).count();
                let left = width.saturating_sub(least);
                let (each, mut odd) = match sharing as u16 {
                    0 => (0, 0),
                    sharing => (left / sharing, left % sharing),
                };
                let width_of = |(place, column): (usize, &Column)| match column.chars {
                    _ if !shown[place] => 0,
                    0 => {
                        let more = u16::from(odd > 0);
                        odd -= more;
                        MIN_SHARE + each + more
                    }
                    chars => chars,
                };
                return columns.iter().enumerate().map(width_of).collect();
            }
        }
    }
}

/// Lines of a screen, from the top.
struct Lines<'a> {
    area: Rect,
    buffer: &'a mut Buffer,
    /// Next line.
    at: u16,
}

impl Lines<'_> {
    /// Returns the number of lines that are left.
    fn left(&self) -> u16 {
        self.area.height.saturating_sub(self.at)
    }

    /// Writes into the next line, from a column on. Returns the width.
    fn write(&mut self, from: u16, text: &str, style: Style) -> u16 {
        if self.left() == 0 || from >= self.area.width {
            return 0;
        }
        let (x, y) = (self.area.x + from, self.area.y + self.at);
        let room = usize::from(self.area.width - from);
        self.buffer.set_stringn(x, y, text, room, style).0 - x
    }

    /// Writes a line.
    fn put(&mut self, text: &str, style: Style) {
        self.write(0, text, style);
        self.at = self.at.saturating_add(1);
    }

    /// Writes the last line, which the others end above.
    fn foot(&mut self, text: &str, style: Style) {
        let at = std::mem::replace(&mut self.at, self.area.height - 1);
        self.write(0, text, style);
        self.at = at;
        self.area.height -= 1;
    }

    /// Gives the next line a style from edge to edge.
    fn fill(&mut self, style: Style) {
        if self.left() > 0 {
            let line = Rect { y: self.area.y + self.at, height: 1, ..self.area };
            self.buffer.set_style(line, style);
        }
    }

    /// Writes a line of cells.
    fn row<'a>(
        &mut self,
        cells: impl Iterator<Item = &'a str>,
        widths: &[u16],
        is_number: impl Fn(usize) -> bool,
        style: Style,
    ) {
        self.fill(style);
        let mut from = 0;
        for (column, (text, &width)) in cells.zip(widths).enumerate() {
            if width == 0 {
                continue;
            }
            let text: String = clip(text, width);
            let padding = if is_number(column) { width - chars(&text) } else { 0 };
            self.write(from + padding, &text, style);
            from += width + GAP;
        }
        self.at = self.at.saturating_add(1);
    }
}

/// Cuts a text that is too wide, which its end shows.
fn clip(text: &str, width: u16) -> String {
    if chars(text) <= width {
        return text.to_owned();
    }
    let mut clipped = String::new();
    for c in text.chars() {
        let mut longer = clipped.clone();
        longer.push(c);
        if chars(&longer) + 1 > width {
            break;
        }
        clipped = longer;
    }
    clipped.push('…');
    clipped
}

/// Returns the width of a text on a terminal.
fn chars(text: &str) -> u16 {
    let width = ratatui::text::Span::raw(text).width();
    u16::try_from(width).unwrap_or(u16::MAX)
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

#[cfg(test)]
mod tests;
