//! The command line: from what was typed to an exit code.
//!
//! - `args`: what can be typed; `settings`, `values`: what a broker can be told,
//!   by the command line or a file.
//! - `config`: the keys of the file, where settings come from, and the commands that make, check
//!   and show a configuration.
//! - `link`: the same for the link to other machines, and its commands.
//! - `clients`: lists of clients and channels; `top`: a broker at work.
//! - `control`: what whoever runs a broker asks of it; `program`: what this program does then.
//! - `serve`, `service`, `emit`, `on`, `record`, `replay`, `status`, `peers`, `cluster`,
//!   `demo`, `completions`, `man`: one file a command.
//! - `recording`: the files of `record` and `replay`.
//! - `doubt`: whether there was a cluster to wait for.
//! - `log`: what a broker writes about itself; `metrics`: what it tells Prometheus.
//! - `standing`: the connection of an `emit` that outlives brokers; `output`, `render`,
//!   `page`, `table`: what is printed; `signals`: what asks to end.
//! - `failure`: why a command failed, and the exit code that goes with it.
//!
//! Invariant: standard output carries the result alone; notices, the log and
//! errors go to standard error.

mod args;
mod clients;
mod cluster;
mod completions;
mod config;
mod control;
mod demo;
mod doubt;
mod emit;
mod failure;
mod json;
mod link;
mod listener;
mod log;
mod man;
mod metrics;
mod on;
mod output;
mod page;
mod peers;
mod program;
mod record;
mod recording;
mod reload;
mod render;
mod replay;
mod serve;
mod service;
mod settings;
mod signals;
mod standing;
mod status;
mod supervision;
mod table;
mod takeover;
#[cfg(feature = "top")]
mod top;
mod values;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

/// Runs the command that was typed.
pub fn run() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(args) => serve::run(args),
        Command::Config(args) => config::run(args),
        Command::Service(args) => service::run(args),
        Command::Emit(args) => emit::run(args),
        Command::On(args) => on::run(args),
        Command::Record(args) => record::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Peers(args) => peers::run(&args),
        Command::Cluster(args) => cluster::run(&args),
        Command::Clients(args) => clients::clients(&args),
        Command::Channels(args) => clients::channels(&args),
        #[cfg(feature = "top")]
        Command::Top(args) => top::run(args),
        Command::Kick(args) => control::kick(&args),
        Command::Drain(args) => control::drain(&args),
        Command::LogLevel(args) => control::log_level(&args),
        Command::Reload(args) => control::reload(&args),
        Command::Link(args) => link::run(&args),
        Command::Demo(args) => demo::run(args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    };
    let code = match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            failure.exit_code()
        }
    };
    log::flush();
    code
}
