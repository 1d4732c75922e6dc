//! Runs of the blocks of README.md.

use super::How::{Script, Snippet};
use super::Row;

pub const ROWS: &[Row] = &[
    (
        "cargo run --release -- demo",
        Script("whole || fail demo; shows block 'got all'; shows block 'the tests: this is one'"),
    ),
    (
        "cargo run --release -- serve",
        Script(
            "terminal serve \"$(line 1)\"; shows serve 'ready socket='
             terminal receiver \"$(line 2)\"; terminal sender \"$(line 3)\"
             shows receiver TESTE",
        ),
    ),
    (
        "let client = Client::connect_default()?;\nclient.on(\"log\"",
        Snippet(
            "receiver",
            "broker; terminal receiver \"$(snippet receiver)\"
             until grep -qF TESTE \"$OUT/receiver\"; do netcluster emit log TESTE; sleep 0.1; done",
        ),
    ),
    (
        "let client = Client::connect_default()?;\nloop",
        Snippet(
            "sender",
            "broker; terminal on 'netcluster on log'; shows on 'listening to'
             terminal sender \"$(snippet sender)\"; shows on 'log TESTE'",
        ),
    ),
    (
        "netcluster on 'sensor.**' &",
        Script(
            "broker; printf '\\211PNG\\0\\n' >cat.png
             whole || fail status
             shows block 'sensor.1.temperature 21.5'; shows block 'sensor.1.temperature: 1 client'
             shows block '1000002 in'; left 1",
        ),
    ),
    (
        "[dependencies]",
        Script(
            "crate=$SOURCE/$(grep -o 'path = \"[a-z]*\"' \"$BLOCK\" | cut -d '\"' -f 2)
             grep -q '^name = \"netcluster-client\"' \"$crate/Cargo.toml\" || fail \"no $crate\"
             for feature in $(sed -n 's/.*features: //p' \"$BLOCK\" | tr -d ,); do
                 grep -q \"^$feature = \" \"$crate/Cargo.toml\" || fail \"no feature $feature\"
             done",
        ),
    ),
    (
        "use netcluster_client::Client;",
        Snippet(
            "client",
            "broker; terminal client \"$(snippet client)\"
             until grep -qF 'test snippet_process ... ok' \"$OUT/client\"; do
                 netcluster emit usd.eur x --channel prices || fail emit; sleep 0.05
             done
             shows client usd.eur",
        ),
    ),
    (
        "cargo build --release --workspace && target/release/netcluster-loadtest table",
        // In its short form: one pair of one row.
        Script(
            "sed -i 's/--seconds 0.5/--seconds 0.05 --repeats 1 --row \"1→1 1 KB\"/' \"$BLOCK\"
             whole || fail table; shows block '1→1 1 KB'",
        ),
    ),
];
