# shellcheck shell=bash
# Sourced by up, down, test and bench. It goes to the project's folder and offers `set_up`, which
# makes .venv complete, and `make_private_files`. A stamp in .venv says what it was made from, so that
# nothing is done twice.

root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd -P)
cd "$root"
me=scripts/$(basename "$0")
unset PYTHONDONTWRITEBYTECODE # nothing is compiled at the installing; each module is at its first import

fail() {
    echo "$me: $*" >&2
    exit 1
}

set_up() {
    is_set_up && return
    [ ! -L .venv ] || fail "$root/.venv is a link to $(readlink -f .venv), which was set up from other files." \
        "Run scripts/test in the checkout that it belongs to, or remove the link."
    exec 9<ops/requirements.lock
    ! command -v flock >/dev/null || flock 9 # two at once would write over each other
    if ! is_set_up; then
        make_venv
        install_packages
        write_supervisor_defaults
        stamp >.venv/hedge.stamp
    fi
    exec 9<&-
}

is_set_up() {
    [ -x .venv/bin/python ] && [ "$(cat .venv/hedge.stamp 2>/dev/null)" = "$(stamp)" ]
}

# What .venv depends on: the files that it is made from, and where it lies.
stamp() {
    cat ops/requirements.lock ops/supervisord.conf pyproject.toml scripts/setup.sh | cksum
    readlink -f .venv
}

# Keeps an environment that works and has not been moved here from elsewhere.
make_venv() {
    if .venv/bin/python -m pip --version >/dev/null 2>&1 && grep -qF "$(readlink -f .venv)" .venv/bin/activate; then
        return
    fi
    find_python
    echo "Making .venv with $("$python" --version) ..."
    "$python" -m venv --clear .venv ||
        fail "$python could not make $root/.venv; its own message is above. Mend what it names, then run $me again."
}

# Sets $python to the first interpreter that is new enough and can make an environment.
find_python() {
    local name bare=""
    for python in python3 python3.11 python3.12 python3.13 python3.14; do
        "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
        "$python" -c 'import ensurepip, venv' 2>/dev/null && return
        bare=$python
    done
    if [ -n "$bare" ]; then
        name=$("$bare" -c 'import sys; print("python{}.{}".format(*sys.version_info))')
        fail "$name is here, but without the modules venv and ensurepip that make .venv." \
            "On Debian and Ubuntu they are a package: apt-get install $name-venv. Then run $me again."
    fi
    fail "Python 3.11 or newer is needed; found: $(python3 --version 2>/dev/null || echo none)." \
        "Install it (on Debian and Ubuntu: apt-get install python3 python3-venv), then run $me again."
}

install_packages() {
    local began=$SECONDS pip=(.venv/bin/python -m pip --quiet --disable-pip-version-check install)
    echo "Installing $(grep -c == ops/requirements.lock) locked packages into .venv, about a minute ..."
    # Compiling here would take half as long again, mostly for modules that nothing imports.
    "${pip[@]}" --no-compile --no-deps --require-hashes -r ops/requirements.lock ||
        fail "the packages could not be installed; pip's message is above." \
            "Mend what it names (often the network, or the package index pip is set to), then run $me again."
    "${pip[@]}" --no-compile --no-deps --no-index --no-build-isolation -e . ||
        fail "the project could not be installed into .venv; pip's message is above."
    echo "Installed in $((SECONDS - began)) s."
}

# A bare supervisorctl looks beside its own bin/ for etc/supervisord.conf: the same, from there.
write_supervisor_defaults() {
    local conf
    conf=$(<ops/supervisord.conf)
    conf=${conf//'%(here)s/..'/"$root"}
    mkdir -p .venv/etc
    {
        echo "; Made by scripts/setup.sh from ops/supervisord.conf, for supervisorctl without -c."
        printf '%s\n' "${conf/files=/files=../../ops/}"
    } >.venv/etc/supervisord.conf
}

# What an operator's machine has and git has not.
make_private_files() {
    mkdir -p logs/run && chmod 700 logs/run ||
        fail "$root/logs/run cannot be made or made private: this user must be able to write to logs/."
    if [ ! -e .env ]; then
        (umask 077 && cp .env.example .env)
        echo "Made .env from .env.example: paper trading on the simulated market, nothing published."
    fi
}
