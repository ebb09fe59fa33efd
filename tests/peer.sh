#!/bin/sh
# Installs what the tests judge Ringstone by, on Debian.
#
#   tests/peer.sh [directory for a venv]
#       As root: redis-server (with redis-cli, redis-benchmark and redis-check-aof) and redis-py.
#       Exits 1 when redis-server could not be had; a missing redis-py is only told.
#   tests/peer.sh --libraries directory
#       The client libraries and harnesses of tests/clients, of the versions named in packages.txt
#       and package.json there: into a venv `python` and into `node/node_modules` in the directory.
#       Only what comes from Debian's archive (node, venv) needs root. Tells what is missing, and
#       exits 1 then.
#
# Does nothing that has been done already.
set -u
export DEBIAN_FRONTEND=noninteractive

# Debian packages, when root; silent.
debian() {
    [ "$(id -u)" = 0 ] || return 1
    apt-get install -y "$@" >/dev/null 2>&1 ||
        { apt-get update >/dev/null 2>&1 && apt-get install -y "$@" >/dev/null 2>&1; }
}

if [ "${1-}" = --libraries ]; then
    wanted=$(cd "$(dirname "$0")/clients" && pwd)
    mkdir -p "$2/node" && cd "$2" || exit 1
    missing=

    # A list beside what was installed from it says that this is done.
    if ! cmp -s "$wanted/packages.txt" python.done; then
        rm -rf python python.done
        python3 -m venv python >/dev/null 2>&1 ||
            { rm -rf python; debian python3-venv && python3 -m venv python >/dev/null 2>&1; }
        if python/bin/python3 -m pip install -q -r "$wanted/packages.txt" >/dev/null 2>&1; then
            cp "$wanted/packages.txt" python.done
        else
            missing="redis-py and pytest-redis (pip)"
        fi
    fi
    if ! cmp -s "$wanted/package.json" node.done; then
        rm -rf node/node_modules node.done
        cp "$wanted/package.json" node/
        command -v npm >/dev/null || debian nodejs npm
        if npm install --prefix node --ignore-scripts --no-audit --no-fund --silent \
            >/dev/null 2>&1; then
            cp "$wanted/package.json" node.done
        else
            missing="${missing:+$missing; }node-redis, ioredis and redis-memory-server (npm)"
        fi
    fi
    [ -z "$missing" ] && exit 0
    echo "could not be installed: $missing" >&2
    exit 1
fi

if ! command -v redis-server >/dev/null; then
    debian redis-server || { echo "redis-server could not be installed by apt-get" >&2; exit 1; }
    # The package starts a service on port 6379, which the tests neither need nor want.
    if command -v systemctl >/dev/null; then
        systemctl disable --now redis-server >/dev/null 2>&1 || true
    fi
fi

if python3 -c 'import redis' 2>/dev/null; then
    exit 0
fi
if [ $# -ge 1 ] && [ ! -x "$1/bin/python3" ]; then
    python3 -m venv "$1" >/dev/null 2>&1 || rm -rf "$1"
fi
if [ $# -ge 1 ] && [ -x "$1/bin/python3" ]; then
    "$1/bin/python3" -m pip install -q redis >/dev/null 2>&1 && exit 0
fi
debian python3-redis && exit 0
python3 -m pip install -q --break-system-packages redis >/dev/null 2>&1 && exit 0
echo "redis-py could not be installed" >&2
exit 0
