//! Arguments of `run`, and what they change in the scenario.

use std::num::NonZeroU64;
use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use clap::Args;
use toml::Spanned;

use super::search::Goal;
use crate::agent::args::MachineArgs;
use crate::scenario::numbers::{LOSSES, is_loss};
use crate::scenario::{FaultKind, FaultSpec, MAX_MACHINES, MAX_SECONDS, Machines, Scenario};
#[cfg(target_os = "linux")]
use crate::soak::SoakArgs;

const MIN_STEP_SECONDS: f64 = 0.2;

pub const EXAMPLES: &str = "\
Examples:
  netcluster-loadtest scenarios                           what is shipped
  netcluster-loadtest run telemetry                       on this machine
  netcluster-loadtest run my.toml --out results           with a result to keep
  netcluster-loadtest run cluster-3 --netns 3 --loss 1    three machines inside this one
  netcluster-loadtest agent --listen 0.0.0.0:4456 --token-file token     on each machine
  netcluster-loadtest run cluster-3 --agent a --agent b --agent c --token-file token
  netcluster-loadtest run cluster-3 --agent a --agent b --agent c --token-file token \\
      --find-max --p99-us 500                             the highest rate that holds it

Exit code: 0, 1 if anything was lost, duplicated, disordered or corrupt or the run broke off,
2 on errors, 130 if interrupted (the result so far is printed).";

/// Arguments of `run`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RunArgs {
    /// A TOML file, or the name of a shipped scenario
    pub scenario: String,
    /// An agent, one for each machine of the scenario in order [port: 4456; default: this machine]
    #[arg(long = "agent", value_name = "HOST:PORT")]
    pub agents: Vec<String>,
    /// A file with the secret that the agents have
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Make so many machines of network namespaces inside this one (needs root)
    #[arg(long, value_name = "N", conflicts_with = "agents")]
    pub netns: Option<usize>,
    /// With --netns: percent of the packets that each machine loses as they arrive
    #[arg(long, value_name = "PERCENT", requires = "netns", allow_negative_numbers = true)]
    pub loss: Option<f64>,
    /// With --netns: megabits per second that reach each machine
    #[arg(long, value_name = "MBIT", requires = "netns", allow_negative_numbers = true)]
    pub rate: Option<NonZeroU64>,
    /// With --netns: pull a machine's cable, such as m2:3:1 for m2 after 3 s for 1 s
    #[arg(long, value_name = "MACHINE:AT:FOR", requires = "netns")]
    pub partition: Vec<String>,
    /// Measure for so long instead; phases and faults are stretched with it
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    pub seconds: Option<f64>,
    /// Search the highest rate at which nothing is lost and --p99-us holds
    #[arg(long, requires = "p99_us")]
    pub find_max: bool,
    /// The latency that 99 of 100 events must not exceed
    #[arg(long, value_name = "US", requires = "find_max", allow_negative_numbers = true)]
    pub p99_us: Option<f64>,
    /// Seconds that each rate is tried for
    #[arg(long, value_name = "S", default_value_t = 3.0, allow_negative_numbers = true)]
    pub step_seconds: f64,
    /// Write the result into this directory
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// An endurance run.
    #[cfg(target_os = "linux")]
    #[command(flatten)]
    pub soak: SoakArgs,
    /// Broker and link of this machine.
    #[command(flatten)]
    pub machine: MachineArgs,
}

impl RunArgs {
    /// Changes the scenario as the arguments say.
    ///
    /// # Errors
    /// Which argument does not fit the scenario.
    pub fn apply(&self, scenario: &mut Scenario) -> Result<()> {
        #[cfg(target_os = "linux")]
        self.soak.unused()?;
        scenario.arguments = self.changes();
        for (place, address) in self.agents.iter().enumerate() {
            let is_twice = self.agents[..place].contains(address);
            ensure!(!is_twice, "--agent {address} is there twice: one agent is one machine");
        }
        let given = self.netns.unwrap_or(self.agents.len().max(1));
        ensure!((1..=MAX_MACHINES).contains(&given), "from 1 to {MAX_MACHINES} machines");
        if given != scenario.machines.0.len() {
            resize(scenario, given)?;
        }
        if let Some(seconds) = self.seconds {
            ensure!((0.05..=MAX_SECONDS).contains(&seconds), "--seconds: from 0.05 to a day");
            scenario.stretch(seconds);
        }
        if let Some(loss) = self.loss {
            ensure!(is_loss(loss), "--loss {loss}: {LOSSES}");
            scenario.network.loss_percent = loss;
        }
        scenario.network.rate_mbit = self.rate.or(scenario.network.rate_mbit);
        for text in &self.partition {
            let fault = partition(text)?;
            ensure!(
                scenario.machines.0.contains(&fault.machine),
                "--partition {text}: there is no machine {}, only {}",
                fault.machine,
                scenario.machines.0.join(", ")
            );
            ensure!(
                fault.at_s + fault.for_s < scenario.total_seconds(),
                "--partition {text}: it must be mended before the end, after {} s",
                scenario.total_seconds()
            );
            scenario.faults.push(Spanned::new(0..0, fault));
        }
        let needs_netns = |kind| matches!(kind, FaultKind::Partition | FaultKind::Loss);
        if self.netns.is_none()
            && scenario.faults.iter().any(|fault| needs_netns(fault.get_ref().kind))
        {
            bail!("partitions and losses are for machines that are namespaces: --netns N");
        }
        Ok(())
    }

    /// Returns the arguments that make another load of the same scenario.
    fn changes(&self) -> Vec<String> {
        let netns = self.netns.map(|count| format!("--netns {count}"));
        let seconds = self.seconds.map(|seconds| format!("--seconds {seconds}"));
        let loss = self.loss.map(|loss| format!("--loss {loss}"));
        let rate = self.rate.map(|rate| format!("--rate {rate}"));
        let partitions = self.partition.iter().map(|text| format!("--partition {text}"));
        [netns, seconds, loss, rate].into_iter().flatten().chain(partitions).collect()
    }

    /// Returns the goal of the search.
    ///
    /// # Errors
    /// Which argument is out of its range.
    pub fn goal(&self) -> Result<Option<Goal>> {
        let Some(p99_us) = self.p99_us.filter(|_| self.find_max) else { return Ok(None) };
        ensure!(p99_us.is_finite() && p99_us > 0.0, "--p99-us must be more than 0");
        ensure!(
            (MIN_STEP_SECONDS..=MAX_SECONDS).contains(&self.step_seconds),
            "--step-seconds must be at least {MIN_STEP_SECONDS}"
        );
        Ok(Some(Goal { p99_us, step_seconds: self.step_seconds }))
    }

    /// Returns why there can be no such machines here.
    pub fn missing(&self) -> Option<String> {
        self.netns?;
        #[cfg(target_os = "linux")]
        return netcluster_testkit::netns::missing();
        #[cfg(not(target_os = "linux"))]
        return Some("network namespaces are Linux's".into());
    }
}

/// Changes the number of machines, if no role is tied to one that is not there.
fn resize(scenario: &mut Scenario, count: usize) -> Result<()> {
    let own = scenario.machines.0.len();
    let names = Machines::numbered(count);
    let lists = scenario.emitters.iter().map(|of| &of.get_ref().on);
    let lists = lists.chain(scenario.listeners.iter().map(|of| &of.get_ref().on));
    let lists = lists.chain(scenario.churn.iter().map(|of| &of.get_ref().on));
    let tied = lists.flatten().chain(scenario.faults.iter().map(|of| &of.get_ref().machine));
    let is_numbered = scenario.machines == Machines::numbered(own);
    for name in tied {
        if !is_numbered || !names.0.contains(name) {
            bail!(
                "the scenario needs {own} machines ({}): give {own} --agent, or --netns {own}",
                scenario.machines.0.join(", ")
            );
        }
    }
    scenario.machines = names;
    Ok(())
}

fn partition(text: &str) -> Result<FaultSpec> {
    let parts: Vec<&str> = text.split(':').collect();
    let seconds = |text: &str| text.parse().ok().filter(|s: &f64| s.is_finite() && *s >= 0.0);
    if let [machine, at, long] = parts[..]
        && let (Some(at_s), Some(for_s)) = (seconds(at), seconds(long))
    {
        let (kind, machine) = (FaultKind::Partition, machine.to_owned());
        return Ok(FaultSpec { kind, machine, at_s, for_s, percent: 0.0 });
    }
    bail!("--partition {text}: MACHINE:AT:FOR, such as m2:3:1 for m2 after 3 s for 1 s")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::scenario;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        run: RunArgs,
    }

    fn applied(line: &str) -> Result<Scenario> {
        let args = Line::try_parse_from(std::iter::once("x").chain(line.split_whitespace()))?.run;
        let (mut scenario, _) = scenario::read(&args.scenario)?;
        args.apply(&mut scenario)?;
        args.goal()?;
        Ok(scenario)
    }

    #[test]
    fn arguments_change_the_scenario() {
        let scenario = applied("telemetry --netns 3 --loss 2 --seconds 1 --partition m2:0.3:0.2");
        let scenario = scenario.unwrap();
        assert_eq!(scenario.machines.0, ["m1", "m2", "m3"]);
        assert!((scenario.measured_seconds() - 1.0).abs() < 1e-9);
        assert_eq!(scenario.faults[0].get_ref().kind, FaultKind::Partition);
        let told = ["--netns 3", "--seconds 1", "--loss 2", "--partition m2:0.3:0.2"];
        assert_eq!(scenario.arguments, told);
    }

    #[test]
    fn what_does_not_fit_says_what_does() {
        for (line, words) in [
            ("cluster-3", "--netns 3"),
            ("cluster-3 --agent a", "3 --agent"),
            ("cluster-3 --agent a --agent b --agent a", "twice"),
            ("telemetry --netns 2 --loss -1", "--loss"),
            ("telemetry --netns 2 --loss 0.01", "from 0.1"),
            ("telemetry --netns 2 --partition m7:1:1", "m1, m2"),
            ("telemetry --netns 2 --partition m2:1", "MACHINE:AT:FOR"),
            ("telemetry --netns 2 --partition m2:9:9", "before the end"),
            ("telemetry --loss 2", "--netns"),
            ("telemetry --find-max", "--p99-us"),
            ("telemetry --find-max --p99-us 0", "--p99-us"),
            ("telemetry --seconds 0", "--seconds"),
        ] {
            let error = applied(line).expect_err(line).to_string();
            assert!(error.contains(words), "{line}: {error}");
        }
    }
}
