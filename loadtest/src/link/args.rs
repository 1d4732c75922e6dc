//! Arguments of `link`, and what they mean.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};

use crate::link::plan::{Level, LinkScenario};
use crate::link::rows::{self, Beside, Number, Row};
use crate::metric::Metric;
use crate::scenario::numbers::{LOSSES, is_loss};
use crate::stamp::MIN_TIMED_BYTES;
use netcluster_testkit::netns::{MAX_HOSTS, Packets};

const MAX_SIZE_BYTES: usize = 1 << 20;
const MAX_REPEATS: usize = 1000;
const MAX_SECONDS: f64 = 3600.0;
const MIN_SECONDS: f64 = 0.05;
const MAX_LOSS_PERCENT: f64 = 50.0;

const EXAMPLES: &str = "\
Hosts are network namespaces of this machine: it needs root, and the programs ip, tc, nft and
ethtool. Rates are per receiver.

Examples:
  netcluster-loadtest link                           1 → 3, 1 KB, packets cross as they are
  netcluster-loadtest link --cut --baseline          packets of 1400 bytes, beside plain packets
  netcluster-loadtest link --size 64 --key           small events, sealed
  netcluster-loadtest link --loss 5                  every receiver loses 5 % of the packets
  netcluster-loadtest link --rate 10000 --cut        latency from the intended send time
  netcluster-loadtest link --level brokers           from client to client
  netcluster-loadtest link --senders 3 --receivers 1 --bottleneck 1000
  netcluster-loadtest link --table --row '1 KB'      rows of the table whose name holds this";

/// Arguments of `link`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct LinkArgs {
    /// All rows of the table, as Markdown
    #[arg(long)]
    pub table: bool,
    /// Only rows whose name holds this; may be given several times
    #[arg(long, value_name = "TEXT", requires = "table")]
    pub row: Vec<String>,
    /// Hosts that send
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub senders: usize,
    /// Hosts that receive
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub receivers: usize,
    /// Bytes of a payload, at least 24
    #[arg(long, default_value_t = 1024, value_name = "BYTES")]
    pub size: usize,
    /// Length of each measured window
    #[arg(long, default_value_t = 1.0, value_name = "S")]
    pub seconds: f64,
    /// Runs, or pairs of runs, of each row
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub repeats: usize,
    /// Events per second and sender (open loop), to measure latency
    #[arg(long, value_name = "R")]
    pub rate: Option<u64>,
    /// Cut trains into packets, as a real network does
    #[arg(long)]
    pub cut: bool,
    /// Percentage of the packets that each receiver loses
    #[arg(long, default_value_t = 0.0, value_name = "PERCENT")]
    pub loss: f64,
    /// What reaches a receiver at most, in Mbit/s
    #[arg(long, value_name = "MBIT")]
    pub bottleneck: Option<u64>,
    /// Seal everything
    #[arg(long)]
    pub key: bool,
    /// What is between the events and the network
    #[arg(long, default_value = "link", value_name = "WHAT")]
    pub level: LevelName,
    /// Compare with packets without a protocol, in alternating runs
    #[arg(long)]
    pub baseline: bool,
    /// The back end: auto, uring or poll [default: the best there is]
    #[arg(long, value_name = "B", value_parser = ["auto", "uring", "poll"])]
    pub backend: Option<String>,
    /// The broker's program [default: `netcluster` beside this one]
    #[arg(long, value_name = "PATH")]
    pub broker: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Names of levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LevelName {
    /// Packets without a protocol.
    Raw,
    /// The link without brokers.
    Link,
    /// Brokers and clients too, from client to client.
    Brokers,
}

impl LinkArgs {
    /// Returns the rows that are to be measured.
    ///
    /// # Errors
    /// Which arguments do not fit together, in words that name the flag.
    pub fn rows(&self) -> Result<Vec<Row>> {
        let seconds = self.seconds;
        ensure!(
            (MIN_SECONDS..=MAX_SECONDS).contains(&seconds),
            "--seconds must be from {MIN_SECONDS} to {MAX_SECONDS}, not {seconds}"
        );
        ensure!(
            (1..=MAX_REPEATS).contains(&self.repeats),
            "--repeats must be from 1 to {MAX_REPEATS}"
        );
        ensure!(self.senders >= 1, "--senders must be at least 1");
        ensure!(self.receivers >= 1, "--receivers must be at least 1");
        ensure!(
            self.senders.saturating_add(self.receivers) <= MAX_HOSTS,
            "--senders and --receivers must be at most {MAX_HOSTS} together"
        );
        ensure!(
            (MIN_TIMED_BYTES..=MAX_SIZE_BYTES).contains(&self.size),
            "--size must be from {MIN_TIMED_BYTES} to {MAX_SIZE_BYTES}"
        );
        ensure!(
            (0.0..=MAX_LOSS_PERCENT).contains(&self.loss),
            "--loss must be from 0 to {MAX_LOSS_PERCENT}"
        );
        ensure!(is_loss(self.loss), "--loss {}: {LOSSES}", self.loss);
        ensure!(self.rate != Some(0), "--rate must be at least 1 event per second");
        ensure!(self.bottleneck != Some(0), "--bottleneck must be at least 1 Mbit/s");
        let scenario = LinkScenario {
            level: match self.level {
                LevelName::Raw => Level::Raw,
                LevelName::Link => Level::Link,
                LevelName::Brokers => Level::Brokers,
            },
            senders: self.senders,
            receivers: self.receivers,
            size: self.size,
            seconds,
            rate: self.rate,
            packets: if self.cut { Packets::Cut } else { Packets::Whole },
            loss_thousandths: (self.loss * 10.0).round() as u32,
            bottleneck: self.bottleneck.map(|mbit| mbit.saturating_mul(1_000_000)),
            has_key: self.key,
            backend: self.backend.clone(),
        };
        let raw = self.baseline || self.level == LevelName::Raw;
        ensure!(!raw || self.senders == 1, "packets without a protocol have one of --senders");
        if self.table {
            let asked = |row: &Row| {
                self.row.is_empty() || self.row.iter().any(|text| row.name.contains(text.as_str()))
            };
            let rows: Vec<Row> = rows::all(&scenario).into_iter().filter(asked).collect();
            ensure!(!rows.is_empty(), "no row's name holds {}", self.row.join(" or "));
            return Ok(rows);
        }
        let mut shown = vec![
            (Number::Metric(Metric::EventsPerS), ""),
            (Number::Metric(Metric::MbPerS), ""),
            (Number::Metric(Metric::TotalCpu), ""),
        ];
        if scenario.rate.is_some() {
            let latencies = [Metric::P50, Metric::P99, Metric::P999];
            shown.extend(latencies.map(|metric| (Number::Metric(metric), "")));
        }
        if scenario.bottleneck.is_some() {
            shown.push((Number::LineShare, ""));
        }
        if scenario.senders > 1 {
            shown.push((Number::Fairness, ""));
        }
        let name = format!("{} → {}, {} B", self.senders, self.receivers, self.size);
        let beside = self.baseline.then_some(Beside::Raw);
        Ok(vec![Row { name, scenario, beside, shown }])
    }
}
