//! Reload of a broker's settings while it runs: by SIGHUP, or when its owner asks.
//!
//! The same sources are read again as at the start: what was typed, the environment, the
//! file. What is wrong changes nothing. What takes a restart is named.
//!
//! Decision: `docs/decisions/062-live-reload.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use netcluster::{BrokerOptions, Reloader};
use serde::Serialize;

use super::config::keys::{self, Change, Key};
use super::config::sources::{self, Loaded};
use super::failure::Failure;
use super::log;
use super::serve;
use super::settings::Settings;
use super::supervision;
use super::values::LogFilter;

/// Path of the key whose files may change while their names stay.
const KEY_FILE: &str = "link.key-file";

/// Sources of the settings of a broker that runs, and those in force.
#[derive(Clone, Debug)]
pub struct Reloading(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    reloader: Reloader,
    typed: Settings,
    config: Option<PathBuf>,
    /// Settings at the start: what takes a restart is compared with these.
    started: Values,
    /// Settings in force, as far as they can change.
    current: Values,
    /// Settings with which the broker would be started as it runs.
    in_force: Loaded,
    /// Number of reloads so far that worked.
    number: u64,
}

/// Settings that are set, by path.
type Values = BTreeMap<String, String>;

/// Changes that a reload has brought.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reloaded {
    /// Keys whose values have changed and are in force.
    pub changed: Vec<String>,
    /// Keys whose values take a restart.
    pub needs_restart: Vec<String>,
    /// Things worth saying about the settings.
    pub warnings: Vec<String>,
}

impl Reloading {
    /// Remembers the sources of a broker that was started with these settings.
    pub fn new(
        reloader: Reloader,
        typed: Settings,
        config: Option<PathBuf>,
        loaded: &Loaded,
        options: &BrokerOptions,
    ) -> Reloading {
        let values = values(loaded, options);
        let (started, current) = (values.clone(), values);
        Reloading(Arc::new(Mutex::new(State {
            reloader,
            typed,
            config,
            started,
            current,
            in_force: loaded.clone(),
            number: 0,
        })))
    }

    /// Returns the settings that are in force: those at the start, and what reloads have
    /// changed of them.
    pub fn in_force(&self) -> Loaded {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).in_force.clone()
    }

    /// Reads the sources again, puts in force what can change, and tells the log and the
    /// service manager.
    ///
    /// # Errors
    /// What is wrong, and where; then nothing has changed.
    pub fn reload(&self) -> Result<Reloaded, Failure> {
        supervision::tell_reloading();
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let result = state.reload();
        match &result {
            Ok(Reloaded { changed, needs_restart, warnings }) => {
                warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
                let (number, changed) = (state.number, changed.join(" "));
                tracing::info!(number, changed, "reloaded the configuration");
                if !needs_restart.is_empty() {
                    tracing::warn!(
                        "these settings have changed and take a restart: {}",
                        needs_restart.join(", ")
                    );
                }
            }
            Err(failure) => tracing::error!("not reloaded: {failure}"),
        }
        supervision::tell_reloaded();
        result
    }
}

impl State {
    fn reload(&mut self) -> Result<Reloaded, Failure> {
        if let Some(path) = sources::named(self.config.as_deref()) {
            sources::check_lasting(&path)?;
        }
        let loaded = sources::load(self.typed.clone(), self.config.as_deref())?;
        for path in &loaded.settings.link.key_file {
            sources::check_lasting(path)?;
        }
        let (mut options, warnings) = serve::options(&loaded)?;
        let new = values(&loaded, &options);
        // The limit of descriptors is what it was.
        serve::fit_to_descriptors(&mut options, &loaded);
        self.reloader.reload(&options).map_err(|text| loaded.locate(Failure::usage(text)))?;
        let changed = differing(&self.current, &new, Change::Live);
        // A filter that somebody asked for stays while the file has none other than before.
        if changed.iter().any(|path| path == "log") {
            let filter = loaded.settings.log.clone();
            let filter = filter.unwrap_or_else(|| LogFilter(log::DEFAULT_LOG.to_owned()));
            log::set_filter(&filter).map_err(Failure::other)?;
        }
        let mut restart = differing(&self.started, &new, Change::Restart);
        let is_sealed = |values: &Values| values.contains_key(KEY_FILE);
        let changed = changed.into_iter().filter(|path| {
            // A link is neither closed nor opened while it runs.
            let stays = path == KEY_FILE && is_sealed(&self.started) != is_sealed(&new);
            let stays =
                stays || path.starts_with("link.") && !self.started.contains_key("link.address");
            if stays && !restart.contains(path) {
                restart.push(path.clone());
            }
            !stays
        });
        let changed = changed.collect();
        self.current = new;
        self.in_force = self.in_force.with_live(loaded);
        self.number += 1;
        Ok(Reloaded { changed, needs_restart: restart, warnings })
    }
}

/// Returns the settings as they are written; for key files, the keys in them as well.
fn values(loaded: &Loaded, options: &BrokerOptions) -> Values {
    let values = loaded.values().into_iter().map(|(path, value)| (path, value.to_string()));
    let mut values: Values = values.collect();
    if let Some(link) = &options.link
        && let Some(files) = values.get_mut(KEY_FILE)
    {
        let ids: Vec<String> = link.keys.iter().map(|key| format!("{:08x}", key.id())).collect();
        files.push_str(&ids.join(" "));
    }
    values
}

/// Returns the paths of the settings of this kind that differ.
fn differing(before: &Values, after: &Values, change: Change) -> Vec<String> {
    let all = keys::all();
    let is_kind = |path: &String| {
        let key: Option<&Key> = all.iter().find(|key| key.is_of(path));
        key.is_some_and(|key| key.change == change)
    };
    let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differ = |path: &&String| before.get(*path) != after.get(*path) && is_kind(path);
    paths.into_iter().filter(differ).cloned().collect()
}
