# Steps with a time limit each, sourced by the scripts beside this: each writes to a
# file of its own, and its last lines are shown when it fails or takes too long; with
# VERBOSE=1 all of it. At the end come the time of each step and what was skipped and
# why. The script says LIMIT_SECONDS, for all steps together, and WANTED, the only
# steps to run if there are any.

exec </dev/null
export CI=true CARGO_TERM_COLOR=never RUST_BACKTRACE=1
# Debug information makes cold builds slower and is not looked at here.
export CARGO_PROFILE_DEV_DEBUG=line-tables-only CARGO_INCREMENTAL=0

TARGET_DIR=${CARGO_TARGET_DIR:-target}
LOG=$(mktemp -d)
TIMES=()
STATUS="failed"

finish() {
    echo
    echo "== Times"
    printf '%s\n' "${TIMES[@]+"${TIMES[@]}"}"
    echo "total: ${SECONDS} s"
    echo
    echo "== Skipped"
    { grep -rhoE 'SKIPPED: .*' "$LOG" || echo "nothing"; } | sort -u
    rm -rf "$LOG"
    echo
    echo "== $STATUS"
}
trap finish EXIT

# step SECONDS NAME COMMAND…: runs it in the background, so that a step that hangs
# ends, and ends here; a process left behind holds a file open, not our output.
step() {
    local limit=$1 name=$2 start=$SECONDS pid shown="" rc=0
    shift 2
    ((limit <= LIMIT_SECONDS - SECONDS)) || limit=$((LIMIT_SECONDS - SECONDS))
    if [[ ${#WANTED[@]} -gt 0 && " ${WANTED[*]} " != *" $name "* ]]; then
        return
    fi
    echo "== $name"
    STATUS="failed: $name"
    set -m
    ( set -e; "$@" ) >"$LOG/$name" 2>&1 &
    pid=$!
    set +m
    if [[ -n ${VERBOSE:-} ]]; then
        tail -n +1 -f --pid="$pid" "$LOG/$name" &
        shown=$!
    fi
    while kill -0 "$pid" 2>/dev/null && ((SECONDS - start < limit)); do
        sleep 0.2
    done
    if kill -0 "$pid" 2>/dev/null; then
        echo "-- not done after $limit s; its processes:"
        ps -o pid,ppid,stat,time,wchan:20,args --forest -g "$(ps -o sid= -p "$pid")" 2>/dev/null |
            cut -c1-160 | head -60
        kill -TERM -- "-$pid" 2>/dev/null || true
        sleep 2
        kill -KILL -- "-$pid" 2>/dev/null || true
        rc=124
    fi
    wait "$pid" || rc=$?
    [[ -z $shown ]] || wait "$shown" || true
    TIMES+=("$(printf '%5d s  %s' $((SECONDS - start)) "$name")")
    if ((rc != 0)); then
        echo "-- the last lines of $name (status $rc):"
        tail -n 150 "$LOG/$name" | cut -c1-400
        exit 1
    fi
    # Not the runner's own lines: they are hundreds.
    awk '/^test result: / { passed += $4; failed += $6; ignored += $8 }
        END { if (passed) printf "%d passed, %d failed, %d skipped\n", passed, failed, ignored }' "$LOG/$name"
}

# as_root COMMAND…: runs it if we may.
as_root() {
    if [[ $(id -u) == 0 ]]; then
        "$@"
    else
        echo "missing, and only root may install it: $*" >&2
        return 1
    fi
}
