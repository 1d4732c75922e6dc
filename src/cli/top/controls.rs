//! Choices that were made by keys.

use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::cli::clients::By;

use super::asker::Wanted;
use super::samples::Samples;
use super::screen;
use super::views::View;

/// Clients and channels that are asked for at a time.
const LISTED: usize = 200;

/// Clients and channels that a filter looks through.
const LISTED_TO_FILTER: usize = 1000;

/// Times between two looks that keys choose, in milliseconds.
const INTERVALS_MS: [u64; 9] = [100, 250, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000];

/// Rows that a page key scrolls.
const PAGE_ROWS: isize = 10;

/// Longest filter, in characters.
const MAX_FILTER_CHARS: usize = 255;

/// Order of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// Place of the column.
    pub column: usize,
    /// Whether the least come first.
    pub is_ascending: bool,
}

/// Act that a key asks for, beyond another choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    Nothing,
    /// Everything is to be drawn anew.
    Redraw,
    /// The shell is to go on meanwhile.
    Suspend,
    /// The end.
    End,
}

/// The choices.
#[derive(Debug)]
pub struct Controls {
    /// View that is shown.
    pub view: View,
    /// Order of the rows of each view.
    sorts: [Sort; View::ALL.len()],
    /// Time between two looks.
    pub interval: Duration,
    /// Whether the screen stands still.
    pub is_paused: bool,
    /// Text that rows must have.
    pub filter: String,
    /// Whether the filter is being typed.
    pub is_typing: bool,
    /// Whether help is shown in the place of rows.
    pub is_help: bool,
    /// First row that is shown.
    pub first: usize,
}

impl Controls {
    /// Makes the first choices.
    pub fn new(view: View, interval: Duration, filter: String) -> Controls {
        Controls {
            view,
            sorts: View::ALL.map(View::first_sort),
            interval,
            is_paused: false,
            filter,
            is_typing: false,
            is_help: false,
            first: 0,
        }
    }

    /// Returns what is to be asked for.
    pub fn wanted(&self) -> Wanted {
        let Sort { column, .. } = self.sort();
        let by = match self.view {
            View::Slow => By::QueuedBytes,
            view => view.columns()[column].by.unwrap_or(By::Client),
        };
        let limit = if self.filter.is_empty() { LISTED } else { LISTED_TO_FILTER };
        Wanted { view: self.view, by, limit }
    }

    /// Returns the order of the rows.
    pub fn sort(&self) -> Sort {
        self.sorts[self.view as usize]
    }

    /// Sorts by a column of the view.
    ///
    /// # Errors
    /// It has none of this name.
    pub fn sort_by(&mut self, name: &str) -> Result<(), String> {
        let columns = self.view.columns();
        let name = name.to_lowercase();
        let is_it = |column: &super::cells::Column| column.name() == name;
        match columns.iter().position(is_it) {
            Some(column) => {
                self.sorts[self.view as usize] = self.view.sort_of(column);
                Ok(())
            }
            None => {
                let names: Vec<String> = columns.iter().map(|column| column.name()).collect();
                Err(format!("--sort: {} has the columns {}", self.view.name(), names.join(", ")))
            }
        }
    }

    /// Takes a key.
    pub fn key(&mut self, key: KeyEvent, samples: &Samples) -> Act {
        if key.kind == KeyEventKind::Release {
            return Act::Nothing;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Act::End,
                KeyCode::Char('l') => Act::Redraw,
                KeyCode::Char('z') => Act::Suspend,
                KeyCode::Char('u') if self.is_typing => {
                    self.set_filter(String::new());
                    Act::Nothing
                }
                _ => Act::Nothing,
            };
        }
        if self.is_typing {
            self.type_filter(key.code);
            return Act::Nothing;
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::F(10) => return Act::End,
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.is_help = !self.is_help,
            KeyCode::Char(digit @ '1'..='9') => {
                let place = digit as usize - '1' as usize;
                View::ALL.get(place).into_iter().for_each(|&view| self.show(view));
            }
            KeyCode::Tab => self.show(self.view.next(1)),
            KeyCode::BackTab => self.show(self.view.next(View::ALL.len() - 1)),
            KeyCode::Char('>') | KeyCode::Right => self.sort_next(1),
            KeyCode::Char('<') | KeyCode::Left => self.sort_next(self.view.columns().len() - 1),
            KeyCode::Char('r' | 'R' | 'I') => {
                let sort = &mut self.sorts[self.view as usize];
                sort.is_ascending = !sort.is_ascending;
                self.first = 0;
            }
            KeyCode::Char('/') | KeyCode::F(4) => self.is_typing = true,
            KeyCode::Char(' ' | 'p') => self.is_paused = !self.is_paused,
            KeyCode::Char('+') => self.look_every(|next, now| next > now),
            KeyCode::Char('-') => self.look_every(|next, now| next < now),
            // No other use: a lone Esc may be the beginning of another key that comes late.
            KeyCode::Esc => {
                self.is_help = false;
                self.set_filter(String::new());
            }
            KeyCode::Down | KeyCode::Char('j') => self.scroll(1, samples),
            KeyCode::Up | KeyCode::Char('k') => self.scroll(-1, samples),
            KeyCode::PageDown => self.scroll(PAGE_ROWS, samples),
            KeyCode::PageUp => self.scroll(-PAGE_ROWS, samples),
            KeyCode::Home | KeyCode::Char('g') => self.first = 0,
            KeyCode::End | KeyCode::Char('G') => self.scroll(isize::MAX, samples),
            _ => {}
        }
        Act::Nothing
    }

    fn show(&mut self, view: View) {
        (self.view, self.is_help, self.first) = (view, false, 0);
    }

    fn sort_next(&mut self, further: usize) {
        let column = (self.sort().column + further) % self.view.columns().len();
        self.sorts[self.view as usize] = self.view.sort_of(column);
        self.first = 0;
    }

    fn type_filter(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                self.set_filter(String::new());
            }
            KeyCode::Backspace => {
                self.filter.pop();
                self.first = 0;
            }
            KeyCode::Char(c) if self.filter.chars().count() < MAX_FILTER_CHARS => {
                self.filter.push(c);
                self.first = 0;
            }
            _ => {}
        }
    }

    fn set_filter(&mut self, filter: String) {
        if filter != self.filter {
            (self.filter, self.first) = (filter, 0);
        }
    }

    /// Takes the nearest interval on one side.
    fn look_every(&mut self, is_there: impl Fn(Duration, Duration) -> bool) {
        let all = INTERVALS_MS.map(Duration::from_millis);
        let there = all.into_iter().filter(|&next| is_there(next, self.interval));
        if let Some(next) = there.min_by_key(|next| next.abs_diff(self.interval)) {
            self.interval = next;
        }
    }

    fn scroll(&mut self, rows: isize, samples: &Samples) {
        let last = screen::rows(self, samples).rows.len().saturating_sub(1);
        self.first = self.first.saturating_add_signed(rows).min(last);
    }
}

#[cfg(test)]
mod tests;
