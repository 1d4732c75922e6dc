//! Files of a recording, one after the other.
//!
//! `run.mcap` is followed by `run.2.mcap`: once it is as large as it may be, if others may
//! follow; and in any case once its index is, which is in memory until the end.
//!
//! Invariant: no file is overwritten.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::super::failure::Failure;
use super::super::output::notice;
use super::super::render::Event;
use super::part::{Full, Part};
use super::{About, Clock, Loss};

/// Limits of a recording's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Largest size of a file.
    pub max_bytes: Option<u64>,
    /// Number of files, of which the oldest is removed; without it there is one of that size.
    pub keep: Option<usize>,
}

/// Numbers of what was recorded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Events.
    pub events: u64,
    /// Bytes of their data.
    pub bytes: u64,
    /// Files, also those that were removed.
    pub files: u32,
    /// Loss notices.
    pub losses: u32,
    /// Events that were lost, as far as that is known.
    pub lost: u64,
}

/// Outcome of an event that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The event is recorded.
    Recorded,
    /// There is no room left.
    NoRoom,
}

/// The files of a recording.
pub struct Series {
    path: PathBuf,
    about: About,
    limits: Limits,
    clock: Clock,
    part: Part,
    /// Whole files, the oldest first.
    kept: VecDeque<PathBuf>,
    totals: Totals,
}

impl Series {
    /// Begins a recording in a file that is not there yet.
    pub fn begin(path: &Path, about: About, limits: Limits) -> Result<Series, Failure> {
        let part = create(path, 1, &about, limits)?;
        Ok(Series {
            path: path.to_owned(),
            about,
            limits,
            clock: Clock::start(),
            part,
            kept: VecDeque::new(),
            totals: Totals { files: 1, ..Totals::default() },
        })
    }

    /// Records an event.
    pub fn event(&mut self, event: &Event<'_>) -> Result<Taken, Failure> {
        match self.part.full_for(event.name, event.data.len()) {
            None => {}
            Some(Full::Size) if self.limits.keep.is_none() => return Ok(Taken::NoRoom),
            Some(_) => self.go_on()?,
        }
        let time_ns = self.clock.stamp();
        self.part.event(event, time_ns).map_err(|error| self.failure(error))?;
        self.totals.events += 1;
        self.totals.bytes += event.data.len() as u64;
        Ok(Taken::Recorded)
    }

    /// Records that events are missing here.
    pub fn loss(&mut self, loss: &Loss) -> Result<(), Failure> {
        self.totals.losses = self.totals.losses.saturating_add(1);
        self.totals.lost = self.totals.lost.saturating_add(loss.count.unwrap_or(0));
        let (number, time_ns) = (self.totals.losses, self.clock.stamp());
        self.part.loss(loss, number, time_ns).map_err(|error| self.failure(error))
    }

    /// Writes what is gathered.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.part.flush().map_err(|error| self.failure(error))
    }

    /// Returns the numbers so far.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Ends the recording.
    pub fn finish(self) -> Result<(), Failure> {
        let path = self.part.path().to_owned();
        self.part.finish().map(drop).map_err(|error| unwritable(&path, &error))
    }

    /// Ends the recording after a failure, without what is gathered.
    pub fn abandon(self) {
        self.part.abandon();
    }

    /// Goes on in the next file.
    fn go_on(&mut self) -> Result<(), Failure> {
        // What was recorded is whole before there is less of it.
        let number = self.totals.files + 1;
        let next = numbered(&self.path, number);
        if let Some(keep) = self.limits.keep {
            while self.kept.len() + 1 >= keep {
                let Some(oldest) = self.kept.pop_front() else { break };
                match fs::remove_file(&oldest) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        notice(format_args!("cannot remove {}: {error}", oldest.display()));
                    }
                    _ => {}
                }
            }
        }
        let part = create(&next, number, &self.about, self.limits)?;
        let before = std::mem::replace(&mut self.part, part);
        let path = before.path().to_owned();
        before.finish().map_err(|error| unwritable(&path, &error))?;
        self.kept.push_back(path);
        self.totals.files = number;
        Ok(())
    }

    fn failure(&self, error: io::Error) -> Failure {
        unwritable(self.part.path(), &error)
    }
}

fn create(path: &Path, number: u32, about: &About, limits: Limits) -> Result<Part, Failure> {
    Part::create(path, number, about, limits.max_bytes).map_err(|error| {
        let text = format!("cannot create {}: {error}", path.display());
        match error.kind() {
            io::ErrorKind::StorageFull => Failure::other(text),
            _ => Failure::usage(text),
        }
    })
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::other(format_args!(
        "cannot write {}: {error}; the recording ends there, and what was written before can \
         be replayed",
        path.display()
    ))
}

/// Checks that no file of a recording of this name is there.
pub fn check_unused(path: &Path) -> Result<(), Failure> {
    let used = |path: &Path| {
        Failure::usage(format_args!(
            "{} is there already: a recording overwrites nothing; give another name, or remove it",
            path.display()
        ))
    };
    if path.symlink_metadata().is_ok() {
        return Err(used(path));
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let Ok(entries) = fs::read_dir(directory.unwrap_or(Path::new("."))) else {
        // Creating the file says what is wrong.
        return Ok(());
    };
    for entry in entries.flatten() {
        let other = path.with_file_name(entry.file_name());
        if number_of(path, &other).is_some() {
            return Err(used(&other));
        }
    }
    Ok(())
}

/// Returns the path of a recording's later file: the number is before the extension.
fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!(".{number}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// Returns the number of a recording's later file; `None` for another file.
fn number_of(path: &Path, other: &Path) -> Option<u32> {
    let stem = path.file_stem()?.to_str()?;
    let rest = other.file_name()?.to_str()?.strip_prefix(stem)?.strip_prefix('.')?;
    let number = match path.extension() {
        Some(extension) => rest.strip_suffix(extension.to_str()?)?.strip_suffix('.')?,
        None => rest,
    };
    let number = number.parse().ok()?;
    (number >= 2 && numbered(path, number) == other).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_files_are_numbered_before_the_extension() {
        for (path, second) in
            [("a/run.mcap", "a/run.2.mcap"), ("run", "run.2"), ("x.y.mcap", "x.y.2.mcap")]
        {
            let (path, second) = (Path::new(path), Path::new(second));
            assert_eq!(numbered(path, 2), second);
            assert_eq!(number_of(path, second), Some(2));
            assert_eq!(number_of(path, path), None);
        }
        let run = Path::new("run.mcap");
        for other in ["run.1.mcap", "run.02.mcap", "run.x.mcap", "run.2.mcap.gz", "other.2.mcap"] {
            assert_eq!(number_of(run, Path::new(other)), None, "{other}");
        }
    }
}
