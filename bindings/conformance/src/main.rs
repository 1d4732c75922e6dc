//! `netcluster-conformance`: runs the scenarios on the driver of a client.

#![forbid(unsafe_code)]

use std::process::ExitCode;

#[cfg(unix)]
fn main() -> ExitCode {
    use clap::Parser;

    match run::Args::parse().run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

#[cfg(not(unix))]
fn main() -> ExitCode {
    eprintln!("error: the runner stops and kills processes as Unix does: run it there");
    ExitCode::from(2)
}

#[cfg(unix)]
mod run {
    use std::path::PathBuf;
    use std::time::Instant;

    use anyhow::{Context, Result, ensure};
    use clap::Parser;
    use netcluster_conformance::runner::{Driver, Programs};
    use netcluster_conformance::scenarios::{self, Outcome, Scenario};

    /// The variable that names the broker's program.
    const BROKER_VARIABLE: &str = "NETCLUSTER_BIN";

    /// Tests the client of any language: the same scenarios against a real broker, with
    /// faults, and against servers that lie.
    #[derive(Debug, Parser)]
    #[command(name = "netcluster-conformance", version, max_term_width = 100)]
    pub struct Args {
        /// The command of the client's driver, as a shell takes it [default: the Rust client's]
        #[arg(long, value_name = "COMMAND")]
        client: Option<String>,
        /// The command of the driver that takes the other part [default: the client's]
        #[arg(long, value_name = "COMMAND")]
        peer: Option<String>,
        /// The broker's program [default: $NETCLUSTER_BIN, else the one beside this program]
        #[arg(long, value_name = "PATH")]
        broker: Option<PathBuf>,
        /// Only scenarios whose names contain this; can be repeated
        #[arg(long, value_name = "NAME")]
        only: Vec<String>,
        /// List the scenarios and the capabilities that they need
        #[arg(long)]
        list: bool,
    }

    impl Args {
        /// Runs the scenarios; whether all passed.
        pub fn run(&self) -> Result<bool> {
            let is_chosen = |scenario: &&Scenario| {
                self.only.is_empty() || self.only.iter().any(|part| scenario.name.contains(part))
            };
            let chosen: Vec<&Scenario> = scenarios::all().filter(is_chosen).collect();
            ensure!(!chosen.is_empty(), "no scenario has such a name: see --list");
            if self.list {
                for scenario in chosen {
                    println!("{:<36} {}", scenario.name, scenario.needs.join(" "));
                }
                return Ok(true);
            }
            let programs = self.programs()?;
            let probe = Driver::start(&programs.client).context("the client's driver")?;
            drop(Driver::start(&programs.peer).context("the peer's driver")?);
            let (mut passed, mut failed, mut inapplicable) = (0, Vec::new(), 0);
            for scenario in chosen {
                let began = Instant::now();
                match scenario.run(&programs, |capability| probe.can(capability)) {
                    Outcome::Passed => {
                        passed += 1;
                        let seconds = began.elapsed().as_secs_f64();
                        println!("passed          {:<36} {seconds:6.2} s", scenario.name);
                    }
                    Outcome::NotApplicable(capability) => {
                        inapplicable += 1;
                        println!("not applicable  {:<36} needs `{capability}`", scenario.name);
                    }
                    Outcome::Failed(error) => {
                        println!("FAILED          {}: {error:#}", scenario.name);
                        failed.push(scenario.name);
                    }
                }
            }
            println!(
                "{passed} passed, {} failed, {inapplicable} not applicable{}{}",
                failed.len(),
                if failed.is_empty() { "" } else { ": " },
                failed.join(" ")
            );
            Ok(failed.is_empty())
        }

        fn programs(&self) -> Result<Programs> {
            let own = std::env::current_exe()?;
            let beside = |name: &str| own.with_file_name(name);
            let client = match &self.client {
                Some(command) => command.clone(),
                None => beside("rust-driver").display().to_string(),
            };
            let named = std::env::var_os(BROKER_VARIABLE).filter(|it| !it.is_empty());
            let broker = self.broker.clone().or(named.map(PathBuf::from));
            let broker = broker.unwrap_or_else(|| beside("netcluster"));
            ensure!(
                broker.is_file(),
                "{} is no program: build it (cargo build), or name another by --broker",
                broker.display()
            );
            let peer = self.peer.clone().unwrap_or_else(|| client.clone());
            Ok(Programs { client, peer, broker })
        }
    }
}
