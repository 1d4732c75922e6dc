# Building for other systems than this one, sourced by the scripts beside this.
#
# Debian's compiler has the source of the standard library beside it, so that a std
# for any target can be built where none can be fetched. Its version is not that of
# rustup's; what it builds lies in the same target directory without conflict.

DEBIAN_RUST=(rustc-web cargo-web rust-web-src)
STD=std,panic_unwind,panic_abort,test,proc_macro

# install PACKAGE…: those that are missing.
install() {
    local missing=() package
    for package; do
        dpkg-query -Wf '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
            missing+=("$package")
    done
    if [[ ${#missing[@]} -gt 0 ]]; then
        as_root apt-get update -q
        DEBIAN_FRONTEND=noninteractive as_root \
            apt-get install -qy --no-install-recommends "${missing[@]}"
    fi
}

# debian COMMAND…: with Debian's compiler ahead of others.
debian() {
    env -u RUSTUP_TOOLCHAIN PATH="/usr/bin:$PATH" "$@"
}

# std_for TARGET: puts a std where Debian's compiler finds it, once and for all
# programs of this machine. From then on the target needs no unstable option.
std_for() {
    local target=$1 libraries scratch
    libraries=$(debian rustc --print target-libdir --target "$target")
    if compgen -G "$libraries/libstd-*.rlib" >/dev/null; then
        return
    fi
    scratch=$(mktemp -d)
    mkdir "$scratch/src"
    : >"$scratch/src/lib.rs"
    printf '[package]\nname = "stdonly"\nversion = "0.1.0"\nedition = "2021"\n' >"$scratch/Cargo.toml"
    RUSTC_BOOTSTRAP=1 debian cargo build --release -Zbuild-std="$STD" --target "$target" \
        --manifest-path "$scratch/Cargo.toml" --target-dir "$scratch/target"
    rm "$scratch/target/$target/release/deps"/libstdonly*
    as_root mkdir -p "$libraries"
    as_root cp "$scratch/target/$target/release/deps"/*.rlib "$libraries/"
    rm -rf "$scratch"
}

# check_for TARGET OPTION…: whether everything compiles there, on Windows without a warning. Nothing
# is linked, so std needs no place, C code, which is checked by whoever wrote it, no
# compiler, and a library for Python no Python.
check_for() {
    local target=$1 name=${1//-/_} said
    shift
    said=$(mktemp)
    env RUSTC_BOOTSTRAP=1 PYO3_NO_PYTHON=1 "CC_$name=true" "AR_$name=true" PATH="/usr/bin:$PATH" \
        cargo check --locked --target "$target" --target-dir "$TARGET_DIR/check" \
        -Zbuild-std="$STD" --workspace "$@" 2>&1 | tee "$said"
    # Elsewhere than on Windows what is unused is told and fails nothing.
    [[ $target != *windows* ]] || ! grep '^warning: ' "$said" || return 1
    rm "$said"
}
