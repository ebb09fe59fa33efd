#!/bin/sh
# Installs what the tests judge Ringstone by, on Debian, as root: redis-server (with redis-cli,
# redis-benchmark and redis-check-aof) and redis-py.  Usage: tests/peer.sh [directory for a venv]
# Does nothing that has been done already. Exits 1 when redis-server could not be had; a missing
# redis-py is only told.
set -u

if ! command -v redis-server >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y redis-server >/dev/null 2>&1 ||
        { apt-get update >/dev/null && apt-get install -y redis-server >/dev/null; } ||
        { echo "redis-server could not be installed by apt-get" >&2; exit 1; }
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
apt-get install -y python3-redis >/dev/null 2>&1 && exit 0
python3 -m pip install -q --break-system-packages redis >/dev/null 2>&1 && exit 0
echo "redis-py could not be installed" >&2
exit 0
