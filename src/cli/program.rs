//! Errands of whoever runs the broker that its program does, while it runs.

use netcluster::Operator;

use super::log;
use super::values::LogFilter;

/// The program of `netcluster serve`.
#[derive(Debug)]
pub struct Program;

impl Operator for Program {
    fn log_level(&self, filter: Option<&str>) -> Result<String, String> {
        if let Some(filter) = filter {
            log::set_filter(&filter.parse::<LogFilter>()?)?;
        }
        Ok(log::filter())
    }

    fn reload(&self) -> Result<String, String> {
        Err("this broker cannot read its configuration anew: restart it".to_owned())
    }
}
