//! Runs of the blocks of docs/languages.md.

use super::How::{Elsewhere, Script, Snippet};
use super::Row;

pub const ROWS: &[Row] = &[
    (
        "use netcluster_client::Client",
        Snippet(
            "languages",
            "broker
             terminal rust \"$(snippet languages)\"
             shows rust 'sensor.kitchen text 21.5'; shows rust 'sensor.attic json [19.5,20.5]'",
        ),
    ),
    ("import { connect } from 'netcluster'", Elsewhere("bindings/node/test/languages.test.mjs")),
    ("from netcluster import Client", Elsewhere("bindings/python/tests/test_readme.py")),
    ("#include <netcluster.h>", Elsewhere("bindings/c/tests/run")),
    (
        "netcluster on 'sensor.**' --count 2",
        Script(
            "broker; whole
             grep -q 'sensor.kitchen.*21.5' \"$OUT/block\" || fail 'no text'
             grep -q 'sensor.attic.*\\[19.5,20.5\\]' \"$OUT/block\" || fail 'no value'",
        ),
    ),
];
