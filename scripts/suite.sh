# shellcheck shell=bash
# Sourced by up and down: the running suite, asked and stopped.

socket=$root/logs/run/supervisor.sock

ctl() {
    .venv/bin/supervisorctl -c ops/supervisord.conf "$@"
}

# Prints the daemon's process id; nothing where none answers.
daemon_pid() {
    [ -x .venv/bin/supervisorctl ] || return 0
    ctl pid 2>/dev/null | grep -x '[0-9]*' || true
}

# Prints the processes that outlived their daemon, or whose daemon no longer answers, with that
# daemon: each child carries its address. (On Linux; elsewhere nobody looks.)
stray_pids() {
    local environ pid parent
    for environ in $(grep -lzxF "SUPERVISOR_SERVER_URL=unix://$socket" /proc/[0-9]*/environ 2>/dev/null); do
        pid=${environ//[!0-9]/}
        parent=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$pid/status" 2>/dev/null) || continue
        echo "$pid"
        case $(tr '\0' ' ' 2>/dev/null <"/proc/$parent/cmdline") in
            *supervisord*) echo "$parent" ;;
        esac
    done | sort -un
}

stop_strays() {
    local pids signal
    for signal in TERM KILL; do
        pids=$(stray_pids)
        [ -n "$pids" ] || return 0
        echo "Stopping what an earlier daemon left behind ($signal):" $pids
        kill "-$signal" $pids 2>/dev/null || true
        wait_until 10 no_strays || true
    done
    no_strays || fail "these processes do not end:" $(stray_pids)
}

no_strays() {
    [ -z "$(stray_pids)" ]
}

# Waits until the command given succeeds, for so many seconds at most.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ $SECONDS -lt $deadline ] || return 1
        sleep 0.5
    done
}
