//! Runs of the blocks of docs/operating.md.

use super::How::{Elsewhere, Script};
use super::Row;

pub const ROWS: &[Row] = &[
    (
        "[channels.raw]",
        Script(
            "cp \"$BLOCK\" netcluster.toml; terminal check 'netcluster config check netcluster.toml'
             shows check 'netcluster.toml: right, 6 settings'",
        ),
    ),
    (
        "[link]\nkey-file = [",
        // Each round in its turn, on two machines; a listener hears an event behind each step.
        Script(
            "netcluster link keygen old.key; netcluster link keygen new.key
             machines m1 m2
             for name in m1 m2; do
                 { line 1; echo 'key-file = \"old.key\"'; } >$name.toml
                 on $name serve-$name \"netcluster serve --config $name.toml --node-name $name\"
             done
             shows serve-m1 'peer node='; shows serve-m2 'peer node='
             on m2 heard 'netcluster on log --wait-cluster 20s'; shows heard 'listening to'
             for round in 2 3 4; do
                 for name in m1 m2; do
                     { line 1; line $round | sed \"s|^# ||; s|/etc/netcluster|$PWD|g\"; } >$name.toml
                     on $name reload-$name-$round 'netcluster reload'
                     shows reload-$name-$round 'changed: link.key-file'
                     on m1 emit-$name-$round \"netcluster emit log $name-$round\"
                     shows heard \"log $name-$round\"
                 done
             done
             for name in m1 m2; do ! grep -q 'no peer any more\\|left' \"$OUT/serve-$name\" || fail left; done",
        ),
    ),
    (
        "netcluster reload  ",
        Script(
            "broker; whole || fail reload; shows block 'nothing changed'
             shows block '\"reload\":true'",
        ),
    ),
    (
        "netcluster config init",
        Script(
            "whole || fail config; shows block 'netcluster.toml: right, 0 settings'
             shows block '# --shards'",
        ),
    ),
    (
        "socket-mode = ",
        Script(
            "cp \"$BLOCK\" settings.toml
             terminal serve 'netcluster serve --interface lo --config settings.toml'
             shows serve 'ready socket='; shows serve 'unicast=127.0.0.1:4455'",
        ),
    ),
    ("apt install ./target/debian", Elsewhere("`.ci/package clean`, on a system of its own")),
    ("netcluster service install", Elsewhere("a service of Windows: `.ci/windows` runs it")),
    (
        "netcluster record ",
        Script(
            "broker
             terminal on 'netcluster on sensor.1 --count 2 --format raw'; shows on 'listening to'
             whole || fail record; shows block 'recorded 1 events of 4 bytes'
             shows block 'would emit 1 events'; shows block 'emitted 1 events'; shows on 21.5",
        ),
    ),
    (
        "netcluster serve --max-memory",
        Script(
            "whole || fail memory; shows block 'of 1 GiB'; shows block VmRSS",
        ),
    ),
    (
        "scrape_configs:",
        Script(
            "cp \"$BLOCK\" prometheus.yml; cp \"$SOURCE/contrib/prometheus/netcluster.rules.yml\" .
             command -v prometheus >/dev/null || { echo SKIPPED: no prometheus; exit 0; }
             promtool check config prometheus.yml || fail config
             terminal serve 'netcluster serve --metrics 9464'; shows serve 'metrics at'
             sed -i '1i global: { scrape_interval: 200ms, evaluation_interval: 200ms }' prometheus.yml
             terminal prometheus 'prometheus --config.file prometheus.yml --storage.tsdb.path data \
                 --web.listen-address 127.0.0.1:9090'
             shows prometheus 'ready to receive web requests'
             until_shows() { for _ in $(seq 200); do curl -s \"$1\" | grep -qF \"$2\" && return; sleep 0.1; done; fail \"$2\"; }
             until_shows 'http://127.0.0.1:9090/api/v1/query?query=netcluster_clients' '\"job\":\"netcluster\"'
             until_shows 'http://127.0.0.1:9090/api/v1/rules' 'NetclusterDown'",
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
        "netcluster log-level debug",
        Script(
            "broker; terminal on 'netcluster on log'; shows on listening
             sed -i \"s/4711/$(pgrep -f '^netcluster on log')/\" \"$BLOCK\"
             whole || fail control; shows block 'disconnected 1 client'; shows on 'floods the channel'
             shows block 'the broker has ended'",
        ),
    ),
    (
        "netcluster serve --takeover",
        Script(
            "broker; terminal on 'netcluster on log --count 1 --format raw'; shows on 'listening to'
             whole || fail takeover; shows block '\"ready\":true'; shows serve 'taken this one'
             netcluster emit log after; shows on after; netcluster drain",
        ),
    ),
    ("[Service]\nExecReload=", Elsewhere("it takes systemd as the first process; the command is the one above")),
    (
        "netcluster status ",
        // It has what the table below it names.
        Script(
            "broker; whole || fail status; shows block 'back end'; shows block ' 1 clients '
             shows block 'listeners stalled'
             for name in $(grep -oE '`(totals|memory)\\.[a-z_]*`' \"$SOURCE/docs/operating.md\" | tr -d '`' | sed 's/.*\\.//'); do
                 shows block \"\\\"$name\\\":\"
             done
             for name in closed_by_broker link link_io; do shows block \"\\\"$name\\\":\"; done",
        ),
    ),
    (
        "netcluster top --once --view slow",
        Script(
            "broker; terminal on 'netcluster on log | sleep 20'; sleep 1
             seq 3000000 | netcluster emit log --wait 1s & sleep 3
             whole || fail slow; shows block 'full'; shows block 'netcluster on'",
        ),
    ),
    (
        "$ netcluster cluster",
        Script(
            "machines web1 db1
             on web1 one 'netcluster serve --link --node-name web1 --expect-peer db2'
             on db1 two 'netcluster serve --link --node-name db1'
             shows one 'name=\"db1\"'; sleep 5; on web1 cluster \"$(line 1 | tail -c +3)\"
             for word in 'NAME  ADDRESS' web1 here linked MISSING 'error: expected, and missing: db2'; do
                 shows cluster \"$word\"
             done",
        ),
    ),
    (
        "[link]\nexpect-peer",
        Script(
            "cp \"$BLOCK\" netcluster.toml; terminal check 'netcluster config check netcluster.toml'
             shows check 'netcluster.toml: right, 2 settings'",
        ),
    ),
    (
        "netcluster serve --metrics",
        Script("whole || fail metrics; shows block ready; shows block 'netcluster_clients '"),
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
];
