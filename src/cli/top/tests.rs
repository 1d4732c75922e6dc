//! The terminal after a panic: this program runs itself on one, and panics.

use std::process::Command;

use netcluster_testkit::wait_until;

use super::*;

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../../../tests/support/terminal.rs"]
mod terminal;

const PANICKING: &str = "cli::top::tests::it_panics";

#[test]
#[ignore = "run by the next one, on a terminal"]
fn it_panics() {
    let shown = with_terminal(|terminal, _| {
        let style = ratatui::style::Style::new();
        terminal.draw(|frame| {
            frame.buffer_mut().set_string(0, 0, "drawn", style);
        })?;
        panic!("on purpose");
    });
    drop(shown);
}

#[test]
fn a_panic_gives_the_terminal_back() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", PANICKING, "--nocapture"]);
    let terminal = terminal::Terminal::start(command, (80, 24));
    terminal.wait_for("it panicked", |lines| lines.iter().any(|it| it.contains("on purpose")));
    terminal.check_harmless();
    assert_eq!(terminal.ended().code(), Some(101));
}
