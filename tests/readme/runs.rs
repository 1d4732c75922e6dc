//! How each block of README is run: a row for each, found by the line that it begins with.

/// What is done with a block.
pub enum How {
    /// Compared with compiled code of this name, which the script runs.
    Snippet(&'static str, &'static str),
    /// Run by this script, after `prelude.sh`.
    Script(&'static str),
    /// Not here, for this reason.
    Elsewhere(&'static str),
}

use How::{Elsewhere, Script, Snippet};

/// A line with which a block begins, or its first words, and what is done with it.
pub const RUNS: &[(&str, How)] = &[
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
    ("netcluster service install", Elsewhere("a service of Windows: `.ci/windows` runs it")),
    (
        "netcluster serve --link",
        Script(
            "machines m1 m2; on m1 one \"$(line 1)\"; on m2 two \"$(line 1)\"
             shows one 'peer node='; shows two 'peer node='",
        ),
    ),
    (
        "netcluster on 'log.**'   ",
        Script(
            "machines m1 m2; linked m1 m2
             on m1 on \"$(line 1)\"; shows on 'listening to'
             until grep -qF 'log.web disk full' \"$OUT/on\"; do on m2 emit \"$(line 2)\"; sleep 0.3; done",
        ),
    ),
    (
        "INFO link group=",
        Script(
            "machines m1 m2; linked m1 m2
             for word in $(grep -o '[a-z]*=' \"$BLOCK\"); do shows serve-m1 \"$word\"; done",
        ),
    ),
    (
        "netcluster serve --link --interface lo",
        Script("whole; shows block 'log.web disk full'; left 0"),
    ),
    (
        "ip netns add m1; ip netns add m2",
        Script(
            "whole; shows block 'log.web disk full'; shows block 'm2'; left 0
             [ -z \"$(ip netns list)\" ] || fail 'namespaces are left'",
        ),
    ),
    (
        "netcluster link keygen",
        Script(
            "machines m1 m2; terminal keygen \"$(line 1)\"; wait
             on m1 one \"$(line 2)\"; on m2 two \"$(line 2)\"
             shows one 'peer node='; shows two 'peer node='",
        ),
    ),
    (
        "netcluster serve --link --peer db1",
        Script(
            "machines app db1 db2; on app app \"$(line 1)\"
             on db1 db1 'netcluster serve --link --node-name db1'
             on db2 db2 'netcluster serve --link --node-name db2'
             shows app 'name=\"db1\"'; shows app 'name=\"db2\"'",
        ),
    ),
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
    (
        "netcluster peers   ",
        Script(
            "machines m1 m2; linked m1 m2
             on m1 peers \"$(line 1)\"; shows peers m2
             on m1 check \"$(line 2)\"; shows check 'multicast both ways'",
        ),
    ),
    (
        "ok       m2 (10.9.0.2:56687)",
        Script(
            "machines m1 m2 m3; linked m1 m2
             on m3 other 'netcluster serve --link --node-name m3 --groups 8'
             shows other 'ready socket='; on m1 check 'netcluster link check'
             shows check 'ok       m2 (10.9.0.2:'; shows check ': multicast both ways, round trip'
             shows check 'PROBLEM  m3 (10.9.0.3:'
             shows check 'spreads channels over 8 groups, here it is 16'; shows check \"$(line 3)\"",
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
    (
        "target/release/netcluster-loadtest local",
        Script(
            "sed -i 's/--seconds 2/--seconds 0.1 --repeats 1/' \"$BLOCK\"
             whole || fail local; shows block relay",
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
];
