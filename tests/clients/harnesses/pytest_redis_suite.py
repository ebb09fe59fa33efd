"""A suite as users of pytest-redis write it; the plugin starts RINGSTONE_TEST_PROGRAM as redis-server.

The plugin asks `--version`, starts the program with flags of its own (a pid file, a Unix socket, a
log file), waits for the port, and empties the server after each test.
"""
import os
from pathlib import Path

import pytest
import redis
from pytest_redis import factories

PROGRAM = os.environ["RINGSTONE_TEST_PROGRAM"]

process = factories.redis_proc(executable=PROGRAM, port=None)
client = factories.redisdb("process")
strict = factories.redis_proc(executable=PROGRAM, port=None, password="secret", db_count=4,
                              compression=True, checksum=True, loglevel="verbose")
strict_client = factories.redisdb("strict", dbnum=3, decode=True)


@pytest.mark.parametrize("turn", [1, 2])
def test_every_test_begins_empty(client, turn):
    assert client.dbsize() == 0
    client.set("key", turn)
    assert client.incr("key") == turn + 1


def test_what_the_plugin_asked_for(client, process):
    assert client.config_get("port") == {"port": str(process.port)}
    assert client.config_get("appendonly") == {"appendonly": "no"}
    info = client.info("server")
    assert info["tcp_port"] == process.port and info["process_id"] == process.process.pid
    pidfile = Path(client.config_get("pidfile")["pidfile"])
    assert pidfile.read_text().strip() == str(process.process.pid)
    log = Path(client.config_get("logfile")["logfile"]).read_text()
    assert "Ready to accept connections" in log
    assert redis.Redis(unix_socket_path=process.unixsocket).ping()


def test_a_password_and_databases(strict_client, strict):
    assert strict_client.set("key", "v") and strict_client.get("key") == "v"
    assert strict_client.config_get("databases") == {"databases": "4"}
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=strict.port).ping()
