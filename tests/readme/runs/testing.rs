//! Runs of the blocks of docs/testing.md.

use super::How::{Script, Snippet};
use super::Row;

pub const ROWS: &[Row] = &[
    (
        "[dev-dependencies]",
        Script(
            "ln -s \"$SOURCE\" netcluster
             tail -n +2 \"$BLOCK\" | tr -d '\",' | while read -r name _ _ _ _ path _; do
                 grep -q \"^name = \\\"$name\\\"\" \"$path/Cargo.toml\" || fail \"$name is not at $path\"
             done || exit 1",
        ),
    ),
    (
        "use netcluster::{Broker",
        Snippet(
            "embedded",
            "terminal test \"$(snippet embedded)\"; shows test 'snippet_process ... ok'",
        ),
    ),
    (
        "let (told, lifecycle)",
        Snippet(
            "restart",
            "terminal test \"$(snippet restart)\"; shows test 'snippet_process ... ok'",
        ),
    ),
];
