//! Runs of the blocks of docs/delivery.md.

use super::How::{Script, Snippet};
use super::Row;

pub const ROWS: &[Row] = &[
    (
        "let client = Client::builder().wait_for_cluster",
        Snippet(
            "everywhere",
            "terminal serve 'netcluster serve --link --interface lo'; shows serve 'ready socket='
             terminal client \"$(snippet everywhere)\"; shows client 'snippet_process ... ok'",
        ),
    ),
    (
        "[link]",
        Script(
            "cp \"$BLOCK\" settings.toml
             terminal serve 'netcluster serve --interface lo --config settings.toml'
             shows serve 'ready socket='",
        ),
    ),
];
