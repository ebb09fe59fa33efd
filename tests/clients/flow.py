"""A basic flow through redis-py, RESP2 and RESP3; any assertion that fails ends it with code 1."""
import sys

import redis

# A disk may stall for longer than the client waits by itself, and then it asks again.
PATIENT = {"socket_timeout": 120, "socket_connect_timeout": 120}


def flow(port, protocol):
    try:
        r = redis.Redis(port=port, protocol=protocol, decode_responses=True, **PATIENT)
    except TypeError:  # redis-py below 5 speaks RESP2 only
        if protocol == 3:
            return
        r = redis.Redis(port=port, decode_responses=True, **PATIENT)
    r.flushall()
    assert r.ping() is True
    assert r.set("k", "v") is True and r.get("k") == "v" and r.get("none") is None
    assert r.set("k", "w", nx=True) is None and r.set("k", "w", get=True) == "v"
    assert r.incrby("n", 41) == 41 and r.incr("n") == 42
    assert r.incrbyfloat("f", 0.5) == 0.5
    assert r.mset({f"m:{i}": i for i in range(50)}) is True
    assert r.mget([f"m:{i}" for i in range(50)]) == [str(i) for i in range(50)]
    assert r.delete(*[f"m:{i}" for i in range(25)]) == 25
    assert r.append("k", "!!") == 3 and r.getrange("k", 0, 0) == "w" and r.strlen("k") == 3
    assert r.expire("k", 1000) and 900 < r.ttl("k") <= 1000 and r.persist("k")
    assert sorted(r.scan_iter(match="m:*", count=7)) == sorted(f"m:{i}" for i in range(25, 50))
    assert r.rename("k", "l") and r.exists("k", "l") == 1 and r.type("l") == "string"
    with r.pipeline(transaction=True) as p:
        p.set("a", 1).incr("a").get("a").mget("a", "none")
        assert p.execute() == [True, 2, "2", ["2", None]]
    with r.pipeline(transaction=False) as p:
        for i in range(500):
            p.set(f"p:{i}", i)
        assert all(p.execute())
    other = redis.Redis(port=port, **PATIENT)
    with r.pipeline() as p:
        p.watch("a")
        other.set("a", "changed")
        p.multi()
        p.set("a", "lost")
        try:
            p.execute()
            raise AssertionError("the watched key had changed")
        except redis.WatchError:
            pass
    assert r.get("a") == "changed"
    assert r.dbsize() > 500 and r.info()["redis_version"]
    assert r.info("persistence")["aof_enabled"] == 1
    assert r.config_get("appendonly") == {"appendonly": "yes"}
    try:
        r.execute_command("NOSUCHCOMMAND")
        raise AssertionError("an unknown command was accepted")
    except redis.ResponseError as error:
        assert "unknown command" in str(error)
    assert r.command_count() > 50
    r.close()


for version in (2, 3):
    flow(int(sys.argv[1]), version)
print("fine", redis.__version__)
