//! Runs of the blocks of docs/benchmarks.md.

use super::How::{Elsewhere, Script};
use super::Row;

pub const ROWS: &[Row] = &[
    (
        "cargo build --release --workspace && target/release/netcluster-loadtest table",
        // In its short form: one pair of one row.
        Script(
            "sed -i 's/--seconds 0.5/--seconds 0.05 --repeats 1 --row \"1→1 1 KB\"/' \"$BLOCK\"
             whole || fail table; shows block '1→1 1 KB'",
        ),
    ),
    (
        "target/release/netcluster-loadtest local --size 1024 --baseline sockets",
        // In their short form: one pair each.
        Script(
            "sed -i 's/ *#.*//; s/$/ --seconds 0.1 --repeats 1/' \"$BLOCK\"
             whole || fail local; shows block sockets; shows block 'clients by shared memory'",
        ),
    ),
    (
        "target/release/netcluster-loadtest local --emitters",
        Script(
            "sed -i 's/--seconds 2/--seconds 0.1 --repeats 1/' \"$BLOCK\"
             whole || fail local; shows block relay",
        ),
    ),
    (
        "cargo build --release --workspace && target/release/netcluster-loadtest local",
        Script(
            "sed -i 's/--seconds 1 --repeats 20/--seconds 0.1 --repeats 1/' \"$BLOCK\"
             whole || fail local; shows block bare",
        ),
    ),
    (
        "netcluster record run.mcap --queue",
        // In its short form.
        Script(
            "broker; sed -i 's/1000000/1000/' \"$BLOCK\"
             whole || fail record; shows block 'recorded 1000 events'
             shows block 'emitted 1000 events'; shows block 'real'",
        ),
    ),
    (
        "pip install",
        Elsewhere("other brokers are installed and measured by `.ci/run prepare release`"),
    ),
    (
        "target/release/netcluster-loadtest link",
        Script(
            "sed -i 's/--baseline/--baseline --seconds 0.1 --repeats 1/' \"$BLOCK\"
             whole || fail link; shows block raw",
        ),
    ),
    (
        "target/release/netcluster-loadtest run soak",
        // In its short form: seconds, and two disturbances.
        Script(
            "sed -i 's/ *#.*//; s/2h/5s --disturb churn,takeover/' \"$BLOCK\"
             whole || fail soak; shows block passed; [ -s soak/soak.json ] || fail 'no result'",
        ),
    ),
    (
        "netcluster-loadtest agent",
        Script(
            "machines a; openssl rand -hex 32 >token; on a agent \"$(line 1)\"
             shows agent '0.0.0.0:4456'",
        ),
    ),
    (
        "netcluster-loadtest run cluster-3",
        // In its short form: not searched for, and one second.
        Script(
            "machines a b c; openssl rand -hex 32 >token
             for name in a b c; do
                 on $name agent-$name 'netcluster-loadtest agent --listen 0.0.0.0:4456 --token-file token'
                 shows agent-$name 4456
             done
             on a run \"$(line 1 | sed 's/--find-max --p99-us 500/--seconds 1/')\"; wait $!
             [ -s results/report.html ] || fail 'no report'
             # What the text around it names.
             netcluster-loadtest scenarios cluster-3 >mine.toml || fail scenarios
             cp -r results A; cp -r results B
             netcluster-loadtest diff A/result.json B/result.json || fail diff",
        ),
    ),
    ("python3 bindings/python/bench", Elsewhere("it takes packages of Python and nats-server")),
    ("cd bindings/node", Elsewhere("it takes packages of npm and nats-server")),
    ("cargo bench -- --quick", Elsewhere("it takes half an hour; `.ci/run clippy` compiles them")),
    ("cargo install --locked gungraun-runner", Elsewhere("`.ci/run counts` does it")),
    ("TAKEOVERS=10", Elsewhere("`cargo test --test takeovers` is its short form")),
    ("callgrind_annotate", Elsewhere("it reads what `cargo bench --bench counts` left")),
];
