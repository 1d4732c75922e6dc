# The commands people repeat. Each is one plain command that can be typed as well;
# CONTRIBUTING.md explains them.

# Lists these.
default:
    @just --list

# Everything that must hold before a change is merged.
ci *steps:
    .ci/run {{steps}}

# All tests as Windows programs, under wine: on Debian, as root. `just windows demo`.
windows *steps:
    .ci/windows {{steps}}

# The Debian package: target/debian/netcluster_*.deb.
deb:
    .ci/package tools build

# The program that needs no library, for any Linux of this architecture.
musl:
    .ci/package tools static

# The package on a clean system, the static program where io_uring is refused: on Debian, as
# root. `just package clean`.
package *steps:
    .ci/package {{steps}}

# macOS (whether it compiles) and 64-bit ARM (unit tests, under qemu): the same.
cross *steps:
    .ci/cross {{steps}}

# All tests.
test:
    cargo test --workspace --all-features

# Format, lints, house rules: the quick checks.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --all-features -- -D warnings
    cargo test --test tidy

# Brokers in virtual time over many seeds, from the base on: the long form.
sim seeds="2000" base="0":
    SIM_SEEDS={{seeds}} SIM_BASE={{base}} cargo test --release --test sim_local --test sim_shared --test sim_link

# The pool's model, every interleaving.
loom:
    RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test -p netcluster-platform --lib loom

# Undefined behaviour in the rings, the pool and the scanner: by an interpreter, which takes
# a quarter of an hour. `rustup +nightly component add miri` installs it.
miri:
    MIRIFLAGS=-Zmiri-disable-isolation CARGO_TARGET_DIR=target/miri cargo +nightly miri test -p netcluster-wire --lib scan
    MIRIFLAGS=-Zmiri-disable-isolation CARGO_TARGET_DIR=target/miri cargo +nightly miri test -p netcluster-platform --lib -- pool::tests slice::
    MIRIFLAGS=-Zmiri-disable-isolation CARGO_TARGET_DIR=target/miri cargo +nightly miri test -p netcluster-shm --lib

# One fuzz target, for so many seconds: the long form; keeps the inputs that it found.
fuzz target seconds="600":
    fuzz/grow {{target}} {{seconds}}

# All benchmarks, or those whose name contains the filter.
bench *filter:
    cargo bench -- {{filter}}

# Instructions of the hottest paths beside the committed figures; docs/benchmarks.md
# says what it needs. `just counts --accept` writes new figures, `just counts '*link*'`
# counts some.
counts *options:
    cargo bench --bench counts -- {{options}}

# Throughput on this machine, beside a relay that parses nothing.
load *options:
    cargo build --release
    cargo run --release -p netcluster-loadtest -- local --seconds 5 --baseline {{options}}

# The link between hosts: network namespaces of this machine, as root.
link *options:
    cargo build --release --workspace
    target/release/netcluster-loadtest link {{options}}

# The documentation, warnings are errors.
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --all-features
