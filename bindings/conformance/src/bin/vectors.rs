//! Writes `vectors.json` anew from `PROTOCOL.md`.

#![forbid(unsafe_code)]

fn main() -> std::io::Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors.json");
    std::fs::write(path, netcluster_conformance::vectors::text())
}
