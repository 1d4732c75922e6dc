//! Errands of whoever runs the broker that its program does, while it runs.

use std::sync::OnceLock;

use netcluster::Operator;

use super::log;
use super::reload::Reloading;
use super::values::LogFilter;

/// The program of `netcluster serve`.
#[derive(Debug, Default)]
pub struct Program {
    /// Sources of its settings, once it has started.
    reloading: OnceLock<Reloading>,
}

impl Program {
    /// Lets the settings be read again from now on.
    pub fn can_reload(&self, reloading: Reloading) {
        // It is set once, by who starts the broker.
        let _ = self.reloading.set(reloading);
    }
}

impl Operator for Program {
    fn log_level(&self, filter: Option<&str>) -> Result<String, String> {
        if let Some(filter) = filter {
            log::set_filter(&filter.parse::<LogFilter>()?)?;
        }
        Ok(log::filter())
    }

    fn reload(&self) -> Result<String, String> {
        let reloading = self.reloading.get().ok_or("the broker is starting: try again")?;
        let reloaded = reloading.reload().map_err(|failure| failure.to_string())?;
        serde_json::to_string(&reloaded).map_err(|error| error.to_string())
    }
}
