//! Runs of the blocks of docs/networks.md.

use super::How::{Elsewhere, Script};
use super::Row;

pub const ROWS: &[Row] = &[
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
        "netcluster serve --link --peer db1",
        Script(
            "machines app db1 db2; no_multicast app db1 db2; on app app \"$(line 1)\"
             on db1 db1 'netcluster serve --link --node-name db1'
             on db2 db2 'netcluster serve --link --node-name db2'
             shows app 'name=\"db1\"'; shows app 'name=\"db2\"'",
        ),
    ),
    (
        "netcluster serve --link --unicast-port 4460",
        Script(
            "machines outside router; behind router inside
             on outside outside \"$(line 1)\"; on inside inside \"$(line 2)\"
             shows inside 'address=10.9.0.1:4460'; shows outside 'address=10.9.0.2:'
             on outside on \"netcluster on 'log.**'\"; shows on 'listening to'
             until grep -qF 'log.nat through' \"$OUT/on\"; do
                 on inside emit 'netcluster emit log.nat through'; sleep 0.3
             done",
        ),
    ),
    ("docker run", Elsewhere("it takes Docker, and an image")),
    (
        "apiVersion: v1\nkind: Service",
        // The command of its brokers, where a name stands for all of them.
        Script(
            "command=$(tr -d '\\n' <\"$BLOCK\" | sed 's/.*command: \\[\\([^]]*\\)\\].*/\\1/' | tr -d '\",')
             machines a b c; no_multicast a b c
             for number in 1 2 3; do echo \"10.9.0.$number netcluster\" >>hosts; done
             for name in a b c; do on $name serve-$name \"$command --node-name $name\"; done
             for name in a b c; do
                 for other in a b c; do
                     [ $name = $other ] || shows serve-$name \"name=\\\"$other\\\"\"
                 done
             done",
        ),
    ),
];
