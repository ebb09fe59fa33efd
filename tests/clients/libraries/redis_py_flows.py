"""Calls of redis-py that take several steps: transactions, pools, monitors, connections that end.

Each takes a `Side` and gives what is compared. They are written once for both kinds of client:
`done` waits where there is something to wait for.
"""
import inspect

import redis
import redis.asyncio

# A disk may stall for longer than the client's five seconds, and who is asked again what has been
# done already answers otherwise.
PATIENT = {"socket_timeout": 120, "socket_connect_timeout": 120}


async def done(value):
    """What either kind of client returned, waited for."""
    return await value if inspect.isawaitable(value) else value


async def error_of(call):
    """The error a call ends with, as its type and text, or what it gave."""
    try:
        return await done(call())
    except redis.RedisError as error:
        return type(error).__name__, str(error)


async def transaction_pipeline(s):
    p = s.r.pipeline(transaction=True)
    p.set("a", 1).incr("a").get("a").mget("a", "none").type("hll").expire("a", 100).ttl("a")
    return await done(p.execute())


async def plain_pipeline(s):
    p = s.r.pipeline(transaction=False)
    for number in range(300):
        p.set(f"p:{number}", number)
    p.mget([f"p:{number}" for number in range(300)]).bitcount("bits").pfcount("hll", "hll2")
    return await done(p.execute())


async def pipeline_with_errors(s):
    p = s.r.pipeline(transaction=True)
    p.set("a", 1).incr("k").get("a")
    given = await done(p.execute(raise_on_error=False))
    raised = []
    for transaction in (True, False):
        p = s.r.pipeline(transaction=transaction)
        p.set("a", 2).incr("k").get("a")
        raised.append(await error_of(p.execute))
    p = s.r.pipeline(transaction=True)
    p.execute_command("SET", "a")
    raised.append(await error_of(p.execute))
    return [(type(v).__name__, str(v)) if isinstance(v, Exception) else v for v in given] + raised


async def watched_and_lost(s):
    p, other = s.r.pipeline(), s.new()
    await done(p.watch("a", "k"))
    seen = await done(p.get("k"))
    await done(other.set("k", "changed"))
    p.multi()
    p.set("k", "lost")
    lost = await error_of(p.execute)
    return seen, lost, await done(s.r.get("k"))


async def watched_and_kept(s):
    p = s.r.pipeline()
    await done(p.watch("k"))
    await done(p.unwatch())
    await done(p.watch("n"))
    p.multi()
    p.incr("n")
    return await done(p.execute())


async def transaction_helper(s):
    """The helper that starts over when a watched key changes under it."""
    other, turns = s.new(), []

    async def wait_and_change(p):
        seen = await done(p.get("n"))
        turns.append(seen)
        if len(turns) == 1:
            await done(other.set("n", "100"))
        p.multi()
        p.set("n", int(seen) + 1)

    def change(p):
        seen = p.get("n")
        turns.append(seen)
        if len(turns) == 1:
            other.set("n", "100")
        p.multi()
        p.set("n", int(seen) + 1)

    func = wait_and_change if s.kind == "asyncio" else change
    return await done(s.r.transaction(func, "n")), turns


async def scanned(s):
    await done(s.r.mset({f"scan:{number}": number for number in range(500)}))
    found = []
    for how in ({}, {"match": "scan:1*"}, {"count": 7}, {"_type": "string", "match": "*9"},
                {"_type": "hash"}):
        found.append(sorted(await s.collect(s.r.scan_iter(**how))))
    return found


async def elements(s, method, key):
    scan = getattr(s.r, method)
    return [sorted(await s.collect(scan(key, **how))) for how in ({}, {"count": 7})]


async def monitored(s):
    other = s.new(client_name="seen", db=1)
    await done(other.ping())
    monitor, given = s.r.monitor(), []
    if s.kind == "asyncio":
        async with monitor:
            await other.set("a", 'with "quotes" and \\')
            await other.get("a")
            given = [await monitor.next_command() for _ in range(2)]
    else:
        with monitor:
            other.set("a", 'with "quotes" and \\')
            other.get("a")
            given = [monitor.next_command() for _ in range(2)]
    return [{k: v for k, v in line.items() if k not in ("time", "client_port")} for line in given]


async def killed_by_address(s):
    """A client comes back by itself after it was cut off."""
    other = s.new(client_name="victim")
    own = await done(other.client_info())
    killed = await done(s.r.client_kill(own["addr"]))
    return killed, await done(other.get("k")), await error_of(lambda: s.r.client_kill("1.2.3.4:5"))


async def killed_by_filter(s):
    results = []
    for filters in ({"_id": None}, {"_id": None, "_type": "normal", "skipme": True},
                    {"laddr": "127.0.0.9:1"}, {"user": "nobody"}, {"addr": "1.2.3.4:5"},
                    {"_id": "x"}, {"_type": "odd"}):
        other = s.new()
        identity = await done(other.client_id())
        if "_id" in filters and filters["_id"] is None:
            filters["_id"] = str(identity)
        results.append(await error_of(lambda: s.r.client_kill_filter(**filters)))
        results.append(await done(other.echo("again")))
    return results


async def killed_by_age(s):
    return await error_of(lambda: s.r.client_kill_filter(maxage=100000))


async def unblocked(s):
    """WAIT for a replica that is not there, ended from another connection in both ways."""
    results = []
    for error in (False, True):
        other = s.new(single_connection_client=True)
        identity = await done(other.client_id())
        connection = other.connection
        await done(connection.send_command("WAIT", 1, 5000))
        woken = False
        for _ in range(1000):
            woken = woken or await done(s.r.client_unblock(identity, error=error))
        results.append((woken, await error_of(connection.read_response)))
    results.append(await done(s.r.client_unblock(1 << 40)))
    return results


async def waiting(s):
    """A client that waits is shown as blocked, and no longer when it has been woken."""
    other = s.new(single_connection_client=True)
    identity = await done(other.client_id())
    await done(other.connection.send_command("WAIT", 1, 60000))
    for _ in range(1000):
        (line,) = await done(s.r.client_list(client_id=[identity]))
        if line["flags"] == "b":
            break
    woken = await done(s.r.client_unblock(identity))
    reply = await done(other.connection.read_response())
    return line["flags"], woken, reply, (await done(other.client_info()))["flags"]


async def paused(s):
    """A pause for writes lets reads pass; the end of it lets the writer go on."""
    given = [await done(s.r.client_pause(60000, all=False)), await done(s.r.get("k"))]
    other = s.new(single_connection_client=True)
    await done(other.ping())
    await done(other.connection.send_command("SET", "k", "late"))
    given.append(await done(s.r.get("k")))
    given.append(await done(s.r.client_unpause()))
    given.append(await done(other.connection.read_response()))
    return given + [await done(s.r.get("k"))]


async def named(s):
    other = s.new(client_name="a-name")
    given = [await done(other.client_getname()), await done(s.r.client_getname())]
    given.append(await error_of(lambda: s.r.client_setname("with space")))
    given.append(await done(s.r.client_setname("new")))
    given.append(await done(s.r.client_getname()))
    given.append(await done(s.r.client_setname("")))
    return given


async def authenticated(s):
    """A password set, asked for, given, and taken away again.

    The clients say nothing of their library when they connect: 7.0 knows no such command, and
    redis-py takes 7.2's word that a password is needed for another error than 7.0's.
    """
    quiet = {"driver_info": None}
    old = s.new(single_connection_client=True, **quiet)
    given = [await done(old.ping())]
    for more in ({}, {"username": "nobody"}):
        given.append(await error_of(lambda: s.new(**quiet).auth("secret", **more)))
    s.plain.config_set("requirepass", "secret")
    try:
        given.append(await done(old.ping()))
        for more in ({}, {"password": "wrong"}, {"password": "secret"},
                     {"username": "default", "password": "secret"},
                     {"username": "nobody", "password": "secret"}):
            given.append(await error_of(s.new(**quiet, **more).ping))
        for more in ({}, {"username": "default"}):
            given.append(await error_of(lambda: s.new(**quiet).auth("secret", **more)))
        given.append(await error_of(lambda: s.new(**quiet).auth("wrong")))
    finally:
        s.plain.config_set("requirepass", "")
    # 7.2 added a word to this text.
    return [str(v).replace("HELLO <proto> AUTH", "HELLO AUTH") for v in given]


async def library_told(s):
    """What was told of the library is shown."""
    other = s.new(single_connection_client=True)
    await done(other.client_setinfo("LIB-NAME", "mine"))
    await done(other.client_setinfo("LIB-VER", "7"))
    line = await done(other.client_info())
    return line["lib-name"], line["lib-ver"]


async def selected(s):
    other = s.new(single_connection_client=True)
    given = [await done(other.select(1)), await done(other.get("k"))]
    given.append(await error_of(lambda: other.select(16)))
    given.append(await done(s.new(db=1).get("away")))
    given.append(await error_of(s.new(db=99).ping))
    return given


async def reset(s):
    other = s.new(single_connection_client=True, client_name="named", db=1)
    given = [await done(other.get("k")), await done(other.reset())]
    # The connection speaks RESP2 again, in database 0, without its name. (Nothing is asked that
    # is answered by a null: redis-py still reads RESP3, where nulls are others.)
    for command in (("GET", "k"), ("CLIENT", "INFO")):
        await done(other.connection.send_command(*command))
        given.append(await done(other.connection.read_response()))
    told = given.pop()
    told = told.decode() if isinstance(told, bytes) else told
    return given, [word for word in told.split() if word.split("=")[0] in ("name", "db", "resp")]


async def quitting(s):
    other = s.new(single_connection_client=True)
    return await done(other.quit()), await error_of(other.ping)


async def locked(s):
    """The part of a lock that needs no script: taking it, in vain, and with an end."""
    lock = s.r.lock("lock", timeout=1000)
    given = [await done(lock.acquire(blocking=False)), await done(lock.locked()),
             await done(lock.owned())]
    other = s.r.lock("lock", timeout=1000)
    given += [await done(other.acquire(blocking=False)), await done(other.owned())]
    ttl = await done(s.r.pttl("lock"))
    await done(s.r.delete("lock"))
    return given, 0 < ttl <= 1000000, await done(lock.locked())


async def pooled(s):
    """Pools with an end to their connections; a URL; a connection that is looked after."""
    module, port, given = s.module, s.port, []
    pool = module.BlockingConnectionPool(host="127.0.0.1", port=port, max_connections=2,
                                         timeout=120, protocol=s.protocol, **PATIENT)
    client = module.Redis(connection_pool=pool)
    given += [await done(client.get("k")) for _ in range(5)]
    await done(pool.disconnect())
    given.append(await done(client.get("n")))
    await done(pool.disconnect())
    url = f"redis://127.0.0.1:{port}/1?protocol={s.protocol}&decode_responses=True"
    by_url = module.Redis.from_url(url, client_name="by-url", **PATIENT)
    s.opened += [client, by_url]
    return given + [await done(by_url.get("away")), await done(by_url.client_getname())]


async def looked_after(s):
    """A health check before each command, and a new connection when the old one is cut."""
    other = s.new(single_connection_client=True, health_check_interval=1000,
                  retry_on_error=[redis.ConnectionError])
    given = [await done(other.get("k"))]
    await done(other.initialize()) if s.kind == "asyncio" else None
    other.connection.next_health_check = 1
    given.append(await done(other.get("n")))
    identity = await done(other.client_id())
    await done(s.r.client_kill_filter(_id=str(identity)))
    given.append(await done(other.get("f")))
    return given, await done(other.client_id()) != identity


async def configured(s):
    """Settings changed and put back."""
    given = []
    for name, value in (("maxclients", "9000"), ("timeout", "100"), ("slowlog-max-len", "7"),
                        ("hz", "20"), ("lazyfree-lazy-user-del", "yes"), ("maxmemory", "1gb"),
                        ("client-output-buffer-limit", "pubsub 32mb 8mb 60"), ("save", "900 1")):
        before = await done(s.r.config_get(name))
        given.append(await done(s.r.config_set(name, value)))
        given.append(await done(s.r.config_get(name)))
        (old,) = before.values()
        given.append(await done(s.r.config_set(name, old)))
    given.append(await error_of(lambda: s.r.config_set("nosuch", "1")))
    given.append(await error_of(lambda: s.r.config_set("maxclients", "x")))
    given.append(await error_of(lambda: s.r.config_set("timeout", 1, "port", 99999999)))
    return given


async def saved(r):
    """A snapshot in the background, and how it ended."""
    told = await done(r.bgsave(schedule=True))
    while True:
        info = await done(r.info("persistence"))
        if info["rdb_bgsave_in_progress"] == 0:
            return told, info["rdb_last_bgsave_status"]


async def rewritten(r):
    """A rewrite of the log, and how it ended."""
    told = await done(r.bgrewriteaof())
    while True:
        info = await done(r.info("persistence"))
        if info["aof_rewrite_in_progress"] == 0:
            return told, info["aof_last_bgrewrite_status"]


async def slow_calls(s):
    """Every call is slow: what the log says of one, without when and how long."""
    await done(s.r.config_set("slowlog-log-slower-than", 0))
    await done(s.r.slowlog_reset())
    await done(s.r.set("slow", "x" * 200))
    await done(s.r.getrange("slow", 0, 3))
    entries = await done(s.r.slowlog_get(10))
    length = await done(s.r.slowlog_len())
    await done(s.r.config_set("slowlog-log-slower-than", 10000))
    await done(s.r.slowlog_reset())
    shown = [{k: v for k, v in e.items() if k not in ("id", "start_time", "duration",
                                                      "client_address")} for e in entries]
    return shown, [sorted(map(str, e)) for e in entries], length >= 4


async def latency_events(s):
    """Without events there is nothing to tell; with none recorded both are silent."""
    return [await done(s.r.latency_latest()), await done(s.r.latency_history("command")),
            await done(s.r.latency_reset()), await done(s.r.latency_reset("command"))]


async def cluster_answers(s):
    """What a server that is not in a cluster says of it."""
    return [await error_of(lambda: s.r.cluster("INFO")),
            await error_of(lambda: s.r.cluster("KEYSLOT", "foo{bar}")),
            await error_of(lambda: s.r.cluster("HELP"))]


async def debugged(s):
    return [await error_of(s.r.debug_segfault), await error_of(lambda: s.r.debug_object("k"))]
