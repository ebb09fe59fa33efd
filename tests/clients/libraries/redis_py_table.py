"""What redis_py.py calls, and what it makes of the methods it does not call.

A step is a function of the client, `lambda r: …`, or of the whole side, `lambda s: …`.
"""
import redis_py_flows as flows

FUTURE = 4102444800  # 2100-01-01
PAYLOAD = bytes.fromhex("00036162630a00d9ac303d4172a2e2")  # of the string abc

METHODS = {
    "acl_cat": [lambda r: r.acl_cat(), lambda r: r.acl_cat("hyperloglog"),
                lambda r: r.acl_cat("nosuch")],
    "acl_getuser": [lambda r: r.acl_getuser("default"), lambda r: r.acl_getuser("nobody")],
    "acl_help": [lambda r: r.acl_help()],
    "acl_list": [lambda r: r.acl_list()],
    "acl_users": [lambda r: r.acl_users()],
    "acl_whoami": [lambda r: r.acl_whoami()],
    "append": [lambda r: r.append("k", "!"), lambda r: r.append("new", b"\x00\xff")],
    "auth": [lambda s: flows.authenticated(s)],
    "bitcount": [lambda r: r.bitcount("bits"), lambda r: r.bitcount("bits", 0, 0),
                 lambda r: r.bitcount("bits", 5, 9, "BIT"), lambda r: r.bitcount("bits", 1)],
    "bitfield": [
        lambda r: r.bitfield("bits").set("u8", 0, 255).get("u4", "#1").execute(),
        lambda r: r.bitfield("bits", "FAIL").incrby("u8", 0, 250).execute(),
        lambda r: r.bitfield("bits").incrby("i8", 8, 127, "SAT").incrby("u2", 1, 3).execute()],
    "bitfield_ro": [lambda r: r.bitfield_ro("bits", "u8", 0),
                    lambda r: r.bitfield_ro("bits", "u8", "#1", items=[("i5", 3)])],
    "bitop": [lambda r: r.bitop("AND", "d", "bits", "k"), lambda r: r.bitop("NOT", "d", "bits"),
              lambda r: r.bitop("XOR", "d", "none", "k", "n"),
              lambda r: r.bitop("NOT", "d", "k", "n")],
    "bitpos": [lambda r: r.bitpos("bits", 1), lambda r: r.bitpos("bits", 0, 1),
               lambda r: r.bitpos("bits", 1, 2, 20, "BIT"), lambda r: r.bitpos("none", 0)],
    "client_getname": [lambda s: flows.named(s)],
    "client_getredir": [lambda r: r.client_getredir()],
    "client_id": [lambda r: r.client_id()],
    "client_info": [lambda r: r.client_info()],
    "client_kill": [lambda s: flows.killed_by_address(s)],
    "client_kill_filter": [lambda s: flows.killed_by_filter(s), lambda s: flows.killed_by_age(s)],
    "client_list": [lambda r: r.client_list(), lambda r: r.client_list(_type="normal"),
                    lambda r: r.client_list(_type="replica"), lambda r: r.client_list(_type="x"),
                    lambda r: r.client_list(client_id=[1 << 40])],
    "client_no_evict": [lambda r: r.client_no_evict("ON"), lambda r: r.client_no_evict("x")],
    "client_no_touch": [lambda r: r.client_no_touch("ON"), lambda r: r.client_no_touch("x")],
    "client_pause": [lambda s: flows.paused(s), lambda r: r.client_pause(1),
                     lambda r: r.client_pause("x")],
    "client_reply": [lambda r: r.client_reply("ON"), lambda r: r.client_reply("x")],
    "client_setinfo": [lambda r: r.client_setinfo("LIB-NAME", "mine"),
                       lambda r: r.client_setinfo("LIB-VER", "1 2"),
                       lambda r: r.client_setinfo("odd", "1"),
                       lambda s: flows.library_told(s)],
    "client_setname": [lambda r: r.client_setname("name"), lambda r: r.client_setname("a\nb")],
    "client_trackinginfo": [lambda r: r.client_trackinginfo()],
    "client_unblock": [lambda s: flows.unblocked(s), lambda s: flows.waiting(s)],
    "client_unpause": [lambda r: r.client_unpause()],
    "cluster": [lambda s: flows.cluster_answers(s)],
    "command": [lambda r: r.command()],
    "command_count": [lambda r: r.command_count()],
    "command_docs": [lambda r: r.command_docs("get")],
    "command_getkeys": [lambda r: r.command_getkeys("MSET", "a", 1, "b", 2),
                        lambda r: r.command_getkeys("GET"), lambda r: r.command_getkeys("PING")],
    "command_getkeysandflags": [lambda r: r.command_getkeysandflags("MSET", "a", 1, "b", 2),
                                lambda r: r.command_getkeysandflags("COPY", "a", "b")],
    "command_info": [lambda r: r.command_info()],
    "command_list": [lambda r: r.command_list(), lambda r: r.command_list(pattern="get*"),
                     lambda r: r.command_list(category="bitmap"),
                     lambda r: r.command_list(module="none")],
    "config_get": [lambda r: r.config_get(), lambda r: r.config_get("max*"),
                   lambda r: r.config_get("nosuch"), lambda r: r.config_get("hz", "timeout")],
    "config_resetstat": [lambda r: r.config_resetstat()],
    "config_rewrite": [lambda r: r.config_rewrite()],
    "config_set": [lambda s: flows.configured(s)],
    "copy": [lambda r: r.copy("k", "d"), lambda r: r.copy("k", "n"), lambda r: r.copy("none", "d"),
             lambda r: r.copy("timed", "n", replace=True),
             lambda r: r.copy("n", "d", destination_db=1)],
    "dbsize": [lambda r: r.dbsize()],
    "debug_object": [lambda s: flows.debugged(s)],
    "debug_segfault": [lambda r: r.debug_segfault()],
    "decr": [lambda r: r.decr("n"), lambda r: r.decr("new", 5), lambda r: r.decr("k")],
    "decrby": [lambda r: r.decrby("n", 40), lambda r: r.decrby("n", 1 << 70)],
    "delete": [lambda r: r.delete("k"), lambda r: r.delete("k", "n", "none", "k")],
    "dump": [lambda r: r.dump("n"), lambda r: r.dump("none")],
    "echo": [lambda r: r.echo("what"), lambda r: r.echo("")],
    "execute_command": [lambda r: r.execute_command("NOSUCH", "a", "b"),
                        lambda r: r.execute_command("GET"),
                        lambda r: r.execute_command("OBJECT", "ENCODING", "n"),
                        lambda r: r.execute_command("CLIENT", "NOSUCH"),
                        lambda r: r.execute_command("HELLO", "9")],
    "exists": [lambda r: r.exists("k"), lambda r: r.exists("k", "k", "none", "n")],
    "expire": [lambda r: r.expire("k", 100), lambda r: r.expire("none", 100),
               lambda r: r.expire("timed", 5000, nx=True), lambda r: r.expire("timed", 5, gt=True),
               lambda r: r.expire("timed", 500, lt=True), lambda r: r.expire("k", 500, xx=True),
               lambda r: r.expire("k", -1), lambda r: r.expire("k", 1, nx=True, gt=True),
               lambda r: r.expire("k", 1 << 62)],
    "expireat": [lambda r: r.expireat("k", FUTURE), lambda r: r.expireat("k", 1),
                 lambda r: r.expireat("timed", FUTURE, gt=True)],
    "expiretime": [lambda s: timed(s, "expireat", FUTURE, "expiretime"),
                   lambda r: r.expiretime("k"), lambda r: r.expiretime("none")],
    "failover": [lambda r: r.failover()],
    "flushall": [lambda r: r.flushall(), lambda r: r.flushall(asynchronous=True)],
    "flushdb": [lambda r: r.flushdb(), lambda r: r.flushdb(asynchronous=True)],
    "from_pool": [lambda s: flows.pooled(s)],
    "get": [lambda r: r.get("k"), lambda r: r.get("none"), lambda r: r.get("n")],
    "getbit": [lambda r: r.getbit("bits", 4), lambda r: r.getbit("none", 99),
               lambda r: r.getbit("bits", -1)],
    "getdel": [lambda r: r.getdel("k"), lambda r: r.getdel("none")],
    "getex": [lambda r: r.getex("k"), lambda r: r.getex("k", ex=100), lambda r: r.getex("k", px=90000),
              lambda r: r.getex("timed", persist=True), lambda r: r.getex("k", exat=FUTURE),
              lambda r: r.getex("k", pxat=FUTURE * 1000), lambda r: r.getex("none", ex=1),
              lambda r: r.getex("k", ex=0)],
    "getrange": [lambda r: r.getrange("k", 1, 3), lambda r: r.getrange("k", -3, -1),
                 lambda r: r.getrange("k", 9, 1)],
    "getset": [lambda r: r.getset("k", "new"), lambda r: r.getset("new", 1)],
    "hello": [lambda r: r.hello()],
    "incr": [lambda r: r.incr("n"), lambda r: r.incr("new"), lambda r: r.incr("k")],
    "incrby": [lambda r: r.incrby("n", 5), lambda r: r.incrby("n", (1 << 63) - 1)],
    "incrbyfloat": [lambda r: r.incrbyfloat("f", 0.1), lambda r: r.incrbyfloat("n", -1e10),
                    lambda r: r.incrbyfloat("k"), lambda r: r.incrbyfloat("f", "inf")],
    "info": [lambda r: r.info(), lambda r: r.info("server"), lambda r: r.info("commandstats"),
             lambda r: r.info("keyspace"), lambda r: r.info("all"),
             lambda r: r.info("clients", "memory"), lambda r: r.info("everything"),
             lambda r: r.info("errorstats"), lambda r: r.info("nosuch")],
    "keys": [lambda r: r.keys(), lambda r: r.keys("lcs?"), lambda r: r.keys("[kn]")],
    "latency_doctor": [lambda r: r.latency_doctor()],
    "latency_graph": [lambda r: r.latency_graph()],
    "latency_histogram": [lambda r: r.latency_histogram()],
    "latency_history": [lambda s: flows.latency_events(s)],
    "latency_latest": [lambda r: r.latency_latest()],
    "latency_reset": [lambda r: r.latency_reset()],
    "lcs": [lambda r: r.lcs("lcs1", "lcs2"), lambda r: r.lcs("lcs1", "lcs2", len=True),
            lambda r: r.lcs("lcs1", "lcs2", idx=True),
            lambda r: r.lcs("lcs1", "lcs2", idx=True, minmatchlen=4, withmatchlen=True),
            lambda r: r.lcs("lcs1", "lcs2", idx=True, len=True)],
    "lock": [lambda s: flows.locked(s)],
    "lastsave": [lambda r: r.lastsave()],
    "save": [lambda r: r.save()],
    "bgsave": [lambda r: flows.saved(r)],
    "bgrewriteaof": [lambda r: flows.rewritten(r)],
    "lolwut": [lambda r: r.lolwut(), lambda r: r.lolwut(5, 20, 2, 2), lambda r: r.lolwut(6, 4, 4),
               lambda r: r.lolwut(99)],
    "memory_doctor": [lambda r: r.memory_doctor()],
    "memory_help": [lambda r: r.memory_help()],
    "memory_malloc_stats": [lambda r: r.memory_malloc_stats()],
    "memory_purge": [lambda r: r.memory_purge()],
    "memory_stats": [lambda r: r.memory_stats()],
    "memory_usage": [lambda r: r.memory_usage("k"), lambda r: r.memory_usage("k", samples=3),
                     lambda r: r.memory_usage("none")],
    "mget": [lambda r: r.mget("k"), lambda r: r.mget(["k", "none", "n"], "f"),
             lambda r: r.mget([])],
    "module_list": [lambda r: r.module_list()],
    "monitor": [lambda s: flows.monitored(s)],
    "move": [lambda r: r.move("n", 1), lambda r: r.move("k", 1), lambda r: r.move("none", 1),
             lambda r: r.move("k", 0), lambda r: r.move("k", 99)],
    "mset": [lambda r: r.mset({"a": 1, "b": b"\xff", "k": 2.5}), lambda r: r.mset({})],
    "msetnx": [lambda r: r.msetnx({"a": 1, "b": 2}), lambda r: r.msetnx({"a": 1, "k": 2})],
    "object": [lambda r: r.object("encoding", "n"), lambda r: r.object("encoding", "k"),
               lambda r: r.object("refcount", "k"), lambda r: r.object("idletime", "k"),
               lambda r: r.object("freq", "k"), lambda r: r.object("encoding", "none"),
               lambda r: r.object("encoding", "hll")],
    "parse_response": [lambda s: flows.looked_after(s)],
    "persist": [lambda r: r.persist("timed"), lambda r: r.persist("k")],
    "pexpire": [lambda r: r.pexpire("k", 100000), lambda r: r.pexpire("timed", 5, gt=True),
                lambda r: r.pexpire("k", 0)],
    "pexpireat": [lambda r: r.pexpireat("k", FUTURE * 1000), lambda r: r.pexpireat("k", 5)],
    "pexpiretime": [lambda s: timed(s, "pexpireat", FUTURE * 1000 + 1, "pexpiretime"),
                    lambda r: r.pexpiretime("none")],
    "pfadd": [lambda r: r.pfadd("hll", "a"), lambda r: r.pfadd("hll", "x", "y"),
              lambda r: r.pfadd("new"), lambda r: r.pfadd("k", "a")],
    "pfcount": [lambda r: r.pfcount("hll"), lambda r: r.pfcount("hll", "hll2", "none"),
                lambda r: r.pfcount("k")],
    "pfmerge": [lambda r: r.pfmerge("d", "hll", "hll2"), lambda r: r.pfmerge("d", "k")],
    "ping": [lambda r: r.ping()],
    "pipeline": [lambda s: flows.transaction_pipeline(s), lambda s: flows.plain_pipeline(s),
                 lambda s: flows.pipeline_with_errors(s), lambda s: flows.watched_and_lost(s),
                 lambda s: flows.watched_and_kept(s)],
    "psetex": [lambda r: r.psetex("k", 100000, "v"), lambda r: r.psetex("k", 0, "v")],
    "pttl": [lambda r: r.pttl("timed"), lambda r: r.pttl("k"), lambda r: r.pttl("none")],
    "quit": [lambda s: flows.quitting(s)],
    "randomkey": [lambda r: r.randomkey()],
    "readonly": [lambda r: r.readonly()],
    "readwrite": [lambda r: r.readwrite()],
    "rename": [lambda r: r.rename("timed", "k"), lambda r: r.rename("none", "d")],
    "renamenx": [lambda r: r.renamenx("k", "d"), lambda r: r.renamenx("k", "n"),
                 lambda r: r.renamenx("none", "d")],
    "replicaof": [lambda r: r.replicaof("NO", "ONE")],
    "reset": [lambda s: flows.reset(s)],
    "migrate": [lambda r: r.migrate("127.0.0.1", 1, "none", 0, 5),
                lambda r: r.migrate("127.0.0.1", 1, ["none", "nil"], 0, 5, copy=True, auth="a"),
                lambda r: r.migrate("127.0.0.1", 1, "k", "x", 5)],
    "restore": [lambda r: r.restore("new", 0, PAYLOAD), lambda r: r.restore("k", 0, PAYLOAD),
                lambda r: r.restore("k", FUTURE * 1000, PAYLOAD, replace=True, absttl=True),
                lambda r: r.restore("new", 0, PAYLOAD, idletime=5),
                lambda r: r.restore("new", 0, PAYLOAD, frequency=5),
                lambda r: r.restore("new", 0, b"abc")],
    "role": [lambda r: r.role()],
    "scan": [lambda r: r.scan(count=1000), lambda r: r.scan(match="n*", count=1000),
             lambda r: r.scan(count=1000, _type="string"), lambda r: r.scan(count=1000, _type="x"),
             lambda r: r.scan(cursor="x")],
    "scan_iter": [lambda s: flows.scanned(s)],
    "hscan_iter": [lambda s: flows.elements(s, "hscan_iter", "h")],
    "sscan_iter": [lambda s: flows.elements(s, "sscan_iter", "s2")],
    "zscan_iter": [lambda s: flows.elements(s, "zscan_iter", "z2")],
    "select": [lambda s: flows.selected(s)],
    "set": [lambda r: r.set("k", "new"), lambda r: r.set("k", 1, nx=True),
            lambda r: r.set("new", 1, nx=True, ex=100), lambda r: r.set("none", 1, xx=True),
            lambda r: r.set("timed", 1, keepttl=True), lambda r: r.set("timed", 1),
            lambda r: r.set("k", "w", get=True), lambda r: r.set("none", "w", get=True, nx=True),
            lambda r: r.set("k", "v", px=100000), lambda r: r.set("k", "v", exat=FUTURE),
            lambda r: r.set("k", "v", pxat=FUTURE * 1000), lambda r: r.set("k", "v", ex=-1),
            lambda r: r.set("k", b"\x00\r\n\xff")],
    "setbit": [lambda r: r.setbit("bits", 7, 0), lambda r: r.setbit("new", 100, 1),
               lambda r: r.setbit("bits", 1 << 40, 1)],
    "setex": [lambda r: r.setex("k", 100, "v"), lambda r: r.setex("k", 0, "v")],
    "setnx": [lambda r: r.setnx("new", "v"), lambda r: r.setnx("k", "v")],
    "setrange": [lambda r: r.setrange("k", 2, "XX"), lambda r: r.setrange("new", 5, "y"),
                 lambda r: r.setrange("k", -1, "y")],
    "shutdown": [lambda r: r.shutdown(abort=True), lambda r: r.shutdown(save=True, nosave=True)],
    "slaveof": [lambda r: r.slaveof()],
    "slowlog_get": [lambda s: flows.slow_calls(s)],
    "slowlog_len": [lambda r: r.slowlog_len()],
    "slowlog_reset": [lambda r: r.slowlog_reset()],
    "strlen": [lambda r: r.strlen("k"), lambda r: r.strlen("none")],
    "substr": [lambda r: r.substr("k", 1, 3), lambda r: r.substr("k", 2)],
    "swapdb": [lambda r: r.swapdb(0, 1), lambda r: r.swapdb(0, 99)],
    "time": [lambda r: r.time()],
    "touch": [lambda r: r.touch("k", "none", "n")],
    "transaction": [lambda s: flows.transaction_helper(s)],
    "ttl": [lambda r: r.ttl("timed"), lambda r: r.ttl("k"), lambda r: r.ttl("none")],
    "type": [lambda r: r.type("k"), lambda r: r.type("hll"), lambda r: r.type("none")],
    "unlink": [lambda r: r.unlink("k", "none", "n")],
    "unwatch": [lambda r: r.unwatch()],
    "delex": [lambda r: r.delex("k", ifeq="value"),
              lambda r: r.delex("k", ifne="value"),
              lambda r: r.delex("h")],
    "digest": [lambda r: r.digest("k"), lambda r: r.digest("none")],
    "hexpire": [lambda r: r.hexpire("h", 100, "a", "none"), lambda r: r.hexpire("h", 0, "a")],
    "hexpireat": [lambda r: r.hexpireat("h", FUTURE, "a", gt=True)],
    "hexpiretime": [lambda r: r.hexpiretime("h", "a", "none")],
    "hgetdel": [lambda r: r.hgetdel("h", "a", "none")],
    "hgetex": [lambda r: r.hgetex("h", "a", "none", ex=100),
               lambda r: r.hgetex("h", "b", persist=True)],
    "hpersist": [lambda r: r.hpersist("h", "a", "none")],
    "hpexpire": [lambda r: r.hpexpire("h", 100000, "a", nx=True)],
    "hpexpireat": [lambda r: r.hpexpireat("h", FUTURE * 1000, "a", "b")],
    "hpexpiretime": [lambda r: r.hpexpiretime("h", "a", "none")],
    "hpttl": [lambda r: r.hpttl("h", "a", "none")],
    "hsetex": [lambda r: r.hsetex("h", "a", 5, ex=100),
               lambda r: r.hsetex("none", "a", 5, keepttl=True)],
    "httl": [lambda r: r.httl("h", "a", "none")],
    "msetex": [lambda r: r.msetex({"a": 1, "k": 2}, ex=100)],
    "hdel": [lambda r: r.hdel("h", "a", "none"), lambda r: r.hdel("k", "a")],
    "hexists": [lambda r: r.hexists("h", "a"), lambda r: r.hexists("none", "a")],
    "hget": [lambda r: r.hget("h", "a"), lambda r: r.hget("h", "none"), lambda r: r.hget("k", "a")],
    "hgetall": [lambda r: r.hgetall("h"), lambda r: r.hgetall("none")],
    "hincrby": [lambda r: r.hincrby("h", "a", 5), lambda r: r.hincrby("h", "b", 1),
                lambda r: r.hincrby("new", "n")],
    "hincrbyfloat": [lambda r: r.hincrbyfloat("h", "a", 0.5),
                     lambda r: r.hincrbyfloat("h", "b", 0.5)],
    "hkeys": [lambda r: r.hkeys("h"), lambda r: r.hkeys("none")],
    "hlen": [lambda r: r.hlen("h"), lambda r: r.hlen("none"), lambda r: r.hlen("k")],
    "hmget": [lambda r: r.hmget("h", "a", "none"), lambda r: r.hmget("none", ["a", "b"])],
    "hmset": [lambda r: r.hmset("h", {"a": 2, "c": "d"})],
    "hrandfield": [lambda r: r.hrandfield("one"), lambda r: r.hrandfield("one", 3, True),
                   lambda r: r.hrandfield("none"), lambda r: r.hrandfield("one", -2)],
    "hscan": [lambda r: r.hscan("h"), lambda r: r.hscan("h", match="a*", count=100),
              lambda r: r.hscan("none")],
    "hset": [lambda r: r.hset("h", "a", 3), lambda r: r.hset("new", mapping={"x": 1, "y": "z"}),
             lambda r: r.hset("k", "a", 1)],
    "hsetnx": [lambda r: r.hsetnx("h", "a", 3), lambda r: r.hsetnx("h", "c", 3)],
    "hstrlen": [lambda r: r.hstrlen("h", "b"), lambda r: r.hstrlen("h", "none")],
    "hvals": [lambda r: r.hvals("h"), lambda r: r.hvals("none")],
    "sadd": [lambda r: r.sadd("s", 3, 4, "x"), lambda r: r.sadd("new", "a"),
             lambda r: r.sadd("k", "a")],
    "scard": [lambda r: r.scard("s"), lambda r: r.scard("none")],
    "sdiff": [lambda r: r.sdiff("s", "s2"), lambda r: r.sdiff("none", "s")],
    "sdiffstore": [lambda r: r.sdiffstore("d", "s", "s2"), lambda r: r.sdiffstore("d", "s", "s")],
    "sinter": [lambda r: r.sinter("s", "s2"), lambda r: r.sinter("s", "none")],
    "sinterstore": [lambda r: r.sinterstore("d", "s", "s2")],
    "sismember": [lambda r: r.sismember("s", 1), lambda r: r.sismember("s", 9)],
    "smembers": [lambda r: r.smembers("s"), lambda r: r.smembers("none")],
    "smismember": [lambda r: r.smismember("s", [1, 9]), lambda r: r.smismember("none", 1)],
    "smove": [lambda r: r.smove("s", "s2", 1), lambda r: r.smove("s", "s2", 9)],
    "spop": [lambda r: r.spop("s", 100), lambda r: r.spop("none"), lambda r: r.spop("s", -1)],
    "srandmember": [lambda r: r.srandmember("s", 100), lambda r: r.srandmember("none")],
    "srem": [lambda r: r.srem("s", 1, 9), lambda r: r.srem("s", 1, 2, 3)],
    "sscan": [lambda r: r.sscan("s"), lambda r: r.sscan("s", match="1*", count=100)],
    "sunion": [lambda r: r.sunion("s", "s2"), lambda r: r.sunion("none", "s")],
    "sunionstore": [lambda r: r.sunionstore("d", "s", "s2")],
    "sintercard": [lambda r: r.sintercard(2, ["s", "s2"]),
                   lambda r: r.sintercard(2, ["s", "s2"], limit=1)],
    "zadd": [lambda r: r.zadd("z", {"a": 4, "d": 0.5}), lambda r: r.zadd("z", {"a": 4}, nx=True),
             lambda r: r.zadd("z", {"a": 4}, xx=True, ch=True), lambda r: r.zadd("k", {"a": 1}),
             lambda r: r.zadd("z", {"a": 4}, incr=True), lambda r: r.zadd("z", {"a": 0}, gt=True)],
    "zcard": [lambda r: r.zcard("z"), lambda r: r.zcard("none")],
    "zcount": [lambda r: r.zcount("z", "(1", "+inf"), lambda r: r.zcount("z", "x", 1)],
    "zdiff": [lambda r: r.zdiff(["z", "z2"]), lambda r: r.zdiff(["z", "z2"], withscores=True)],
    "zdiffstore": [lambda r: r.zdiffstore("d", ["z", "z2"])],
    "zincrby": [lambda r: r.zincrby("z", 1.5, "a"), lambda r: r.zincrby("new", 1, "a")],
    "zinter": [lambda r: r.zinter(["z", "z2"]),
               lambda r: r.zinter({"z": 2, "z2": 3}, aggregate="MAX", withscores=True)],
    "zintercard": [lambda r: r.zintercard(2, ["z", "z2"]),
                   lambda r: r.zintercard(2, ["z", "z2"], limit=1)],
    "zinterstore": [lambda r: r.zinterstore("d", ["z", "z2"])],
    "zlexcount": [lambda r: r.zlexcount("z", "-", "+"), lambda r: r.zlexcount("z", "[b", "(c")],
    "zmpop": [lambda r: r.zmpop(2, ["none", "z"], min=True),
              lambda r: r.zmpop(1, ["z"], max=True, count=2), lambda r: r.zmpop(1, ["none"], min=True)],
    "zmscore": [lambda r: r.zmscore("z", ["a", "none"])],
    "zpopmax": [lambda r: r.zpopmax("z"), lambda r: r.zpopmax("z", 2), lambda r: r.zpopmax("none")],
    "zpopmin": [lambda r: r.zpopmin("z"), lambda r: r.zpopmin("z", 2), lambda r: r.zpopmin("none")],
    "zrandmember": [lambda r: r.zrandmember("none"), lambda r: r.zrandmember("none", 2)],
    "zrange": [lambda r: r.zrange("z", 0, -1), lambda r: r.zrange("z", 0, -1, desc=True),
               lambda r: r.zrange("z", 0, -1, withscores=True),
               lambda r: r.zrange("z", 1, 3, byscore=True, offset=1, num=1)],
    "zrangebylex": [lambda r: r.zrangebylex("z", "-", "[b"), lambda r: r.zrangebylex("z", "x", "+")],
    "zrangebyscore": [lambda r: r.zrangebyscore("z", 1, "(3", withscores=True),
                      lambda r: r.zrangebyscore("z", 1, 3, start=1, num=1)],
    "zrangestore": [lambda r: r.zrangestore("d", "z", 0, 1)],
    "zrank": [lambda r: r.zrank("z", "b"), lambda r: r.zrank("z", "none")],
    "zrem": [lambda r: r.zrem("z", "a", "none"), lambda r: r.zrem("z", "a", "b", "c")],
    "zremrangebylex": [lambda r: r.zremrangebylex("z", "-", "[b")],
    "zremrangebyrank": [lambda r: r.zremrangebyrank("z", 0, 1)],
    "zremrangebyscore": [lambda r: r.zremrangebyscore("z", 1, 2.5)],
    "zrevrange": [lambda r: r.zrevrange("z", 0, -1), lambda r: r.zrevrange("z", 0, 0, True)],
    "zrevrangebylex": [lambda r: r.zrevrangebylex("z", "+", "-")],
    "zrevrangebyscore": [lambda r: r.zrevrangebyscore("z", "inf", "-inf", withscores=True)],
    "zrevrank": [lambda r: r.zrevrank("z", "b"), lambda r: r.zrevrank("z", "none")],
    "zscan": [lambda r: r.zscan("z"), lambda r: r.zscan("z", match="a*", count=100)],
    "zscore": [lambda r: r.zscore("z", "b"), lambda r: r.zscore("z", "none")],
    "zunion": [lambda r: r.zunion(["z", "z2"]), lambda r: r.zunion(["z", "z2"], withscores=True)],
    "zunionstore": [lambda r: r.zunionstore("d", ["z", "z2"], aggregate="MIN")],
    "geoadd": [lambda r: r.geoadd("geo", [2.5, 48.5, "x"]), lambda r: r.geoadd("geo", [1, 99, "x"]),
               lambda r: r.geoadd("geo", [2.5, 48.5, "Palermo"], ch=True)],
    "geodist": [lambda r: r.geodist("geo", "Palermo", "Catania", "km"),
                lambda r: r.geodist("geo", "Palermo", "none")],
    "geohash": [lambda r: r.geohash("geo", "Palermo", "none")],
    "geopos": [lambda r: r.geopos("geo", "Palermo", "none")],
    "georadius": [lambda r: r.georadius("geo", 15, 37, 200, "km", withdist=True, sort="ASC"),
                  lambda r: r.georadius("geo", 15, 37, 200, "km", store="d")],
    "georadiusbymember": [lambda r: r.georadiusbymember("geo", "Palermo", 200, "km"),
                          lambda r: r.georadiusbymember("geo", "none", 200, "km")],
    "geosearch": [lambda r: r.geosearch("geo", longitude=15, latitude=37, unit="km", radius=200),
                  lambda r: r.geosearch("geo", member="Palermo", unit="km", width=9, height=9,
                                        withcoord=True, withdist=True, withhash=True)],
    "geosearchstore": [lambda r: r.geosearchstore("d", "geo", longitude=15, latitude=37,
                                                  unit="km", radius=200, storedist=True)],
    "xack": [lambda r: r.xack("x", "g", "1-0", "9-0"), lambda r: r.xack("x", "none", "1-0")],
    "xadd": [lambda r: r.xadd("x", {"d": 4}, id="4-1"), lambda r: r.xadd("x", {"d": 4}, id="1-1"),
             lambda r: r.xadd("x", {"d": 4}, id="9-*", maxlen=2, approximate=False),
             lambda r: r.xadd("none", {"d": 4}, nomkstream=True),
             lambda r: r.xadd("x", {"d": 4}, id="9-0", minid="3-0", limit=10)],
    "xautoclaim": [lambda r: r.xautoclaim("x", "g", "you", 0, count=1),
                   lambda r: r.xautoclaim("x", "g", "you", 0, justid=True),
                   lambda r: r.xautoclaim("x", "g", "you", 10**9)],
    "xclaim": [lambda r: r.xclaim("x", "g", "you", 0, ["1-0", "3-0"]),
               lambda r: r.xclaim("x", "g", "you", 0, ["3-0"], retrycount=5, force=True),
               lambda r: r.xclaim("x", "g", "you", 0, ["1-0"], justid=True)],
    "xdel": [lambda r: r.xdel("x", "1-0", "9-0"), lambda r: r.xdel("none", "1-0")],
    "xgroup_create": [lambda r: r.xgroup_create("x", "h"), lambda r: r.xgroup_create("x", "g"),
                      lambda r: r.xgroup_create("new", "g", "$", mkstream=True),
                      lambda r: r.xgroup_create("x", "h", "2-0", entries_read=2)],
    "xgroup_createconsumer": [lambda r: r.xgroup_createconsumer("x", "g", "you"),
                              lambda r: r.xgroup_createconsumer("x", "g", "me")],
    "xgroup_delconsumer": [lambda r: r.xgroup_delconsumer("x", "g", "me"),
                           lambda r: r.xgroup_delconsumer("x", "none", "me")],
    "xgroup_destroy": [lambda r: r.xgroup_destroy("x", "g"),
                       lambda r: r.xgroup_destroy("x", "none")],
    "xgroup_setid": [lambda r: r.xgroup_setid("x", "g", "1-0"),
                     lambda r: r.xgroup_setid("x", "g", "$", entries_read=3)],
    "xinfo_consumers": [lambda r: r.xinfo_consumers("x", "g")],
    "xinfo_groups": [lambda r: r.xinfo_groups("x"), lambda r: r.xinfo_groups("none")],
    "xinfo_stream": [lambda r: r.xinfo_stream("x"), lambda r: r.xinfo_stream("x", full=True),
                     lambda r: r.xinfo_stream("none")],
    "xlen": [lambda r: r.xlen("x"), lambda r: r.xlen("none"), lambda r: r.xlen("k")],
    "xpending": [lambda r: r.xpending("x", "g"), lambda r: r.xpending("x", "none")],
    "xpending_range": [lambda r: r.xpending_range("x", "g", "-", "+", 10),
                       lambda r: r.xpending_range("x", "g", "(1-0", "+", 10, "me")],
    "xrange": [lambda r: r.xrange("x"), lambda r: r.xrange("x", "(1-0", "+", 1),
               lambda r: r.xrange("none")],
    "xread": [lambda r: r.xread({"x": "1-0"}), lambda r: r.xread({"x": "$", "none": 0}),
              lambda r: r.xread({"x": 0}, count=1, block=1)],
    "xreadgroup": [lambda r: r.xreadgroup("g", "you", {"x": ">"}),
                   lambda r: r.xreadgroup("g", "me", {"x": "0"}, count=1),
                   lambda r: r.xreadgroup("g", "you", {"x": ">"}, noack=True),
                   lambda r: r.xreadgroup("none", "you", {"x": ">"})],
    "xrevrange": [lambda r: r.xrevrange("x"), lambda r: r.xrevrange("x", "2", "-", 1)],
    "xtrim": [lambda r: r.xtrim("x", maxlen=1, approximate=False), lambda r: r.xtrim("x", 1),
              lambda r: r.xtrim("x", minid="3-0", approximate=False)],
    "lindex": [lambda r: r.lindex("l", 0), lambda r: r.lindex("l", -9), lambda r: r.lindex("k", 0)],
    "linsert": [lambda r: r.linsert("l", "before", "b", "new"),
                lambda r: r.linsert("l", "AFTER", "none", "new"),
                lambda r: r.linsert("none", "before", "b", "new")],
    "llen": [lambda r: r.llen("l"), lambda r: r.llen("none"), lambda r: r.llen("k")],
    "blpop": [lambda r: r.blpop(["none", "l"], 1), lambda r: r.blpop("none", 0.01)],
    "brpop": [lambda r: r.brpop(["none", "l"], 1), lambda r: r.brpop("k", 0.01)],
    "blmove": [lambda r: r.blmove("l", "l2", 1), lambda r: r.blmove("none", "l", 0.01)],
    "brpoplpush": [lambda r: r.brpoplpush("l", "l2", 1),
                   lambda r: r.brpoplpush("none", "l", 0.01)],
    "blmpop": [lambda r: r.blmpop(1, 2, "none", "l", direction="LEFT", count=2),
               lambda r: r.blmpop(0.01, 1, "none", direction="RIGHT")],
    "bzpopmin": [lambda r: r.bzpopmin(["none", "z"], 1), lambda r: r.bzpopmin("none", 0.01)],
    "bzpopmax": [lambda r: r.bzpopmax(["none", "z"], 1), lambda r: r.bzpopmax("l", 0.01)],
    "bzmpop": [lambda r: r.bzmpop(1, 2, ["none", "z"], max=True, count=2),
               lambda r: r.bzmpop(0.01, 1, ["none"], min=True)],
    "lmove": [lambda r: r.lmove("l", "l2"), lambda r: r.lmove("l", "l", "RIGHT", "LEFT"),
              lambda r: r.lmove("none", "l")],
    "lmpop": [lambda r: r.lmpop(2, "none", "l", direction="LEFT", count=2),
              lambda r: r.lmpop(1, "none", direction="RIGHT"),
              lambda r: r.lmpop(1, "k", direction="LEFT")],
    "lpop": [lambda r: r.lpop("l"), lambda r: r.lpop("l", 9), lambda r: r.lpop("none"),
             lambda r: r.lpop("none", 2), lambda r: r.lpop("l", -1)],
    "lpos": [lambda r: r.lpos("l", "b"), lambda r: r.lpos("l", "b", rank=-1, count=0, maxlen=9),
             lambda r: r.lpos("l", "none"), lambda r: r.lpos("l", "b", rank=0)],
    "lpush": [lambda r: r.lpush("l", "x", 2), lambda r: r.lpush("new", "a"),
              lambda r: r.lpush("k", "a")],
    "lpushx": [lambda r: r.lpushx("l", "x", "y"), lambda r: r.lpushx("none", "x")],
    "lrange": [lambda r: r.lrange("l", 0, -1), lambda r: r.lrange("l", 3, 1),
               lambda r: r.lrange("none", 0, -1), lambda r: r.lrange("k", 0, -1)],
    "lrem": [lambda r: r.lrem("l", -1, "b"), lambda r: r.lrem("none", 0, "b")],
    "lset": [lambda r: r.lset("l", 1, "new"), lambda r: r.lset("l", 9, "new"),
             lambda r: r.lset("none", 0, "new")],
    "ltrim": [lambda r: r.ltrim("l", 1, -2), lambda r: r.ltrim("l", 9, 9)],
    "rpop": [lambda r: r.rpop("l"), lambda r: r.rpop("l", 2), lambda r: r.rpop("none")],
    "rpoplpush": [lambda r: r.rpoplpush("l", "l2"), lambda r: r.rpoplpush("none", "l")],
    "rpush": [lambda r: r.rpush("l", "x", 2), lambda r: r.rpush("k", "a")],
    "rpushx": [lambda r: r.rpushx("l", "x"), lambda r: r.rpushx("none", "x")],
    "sort": [lambda r: r.sort("s", desc=True), lambda r: r.sort("l", alpha=True),
             lambda r: r.sort("l", alpha=True, start=1, num=2, get=["#", "k*"], groups=True),
             lambda r: r.sort("l", by="nosort", store="d"), lambda r: r.sort("l"),
             lambda r: r.sort("k")],
    "sort_ro": [lambda r: r.sort_ro("s", desc=True), lambda r: r.sort_ro("none")],
    "wait": [lambda r: r.wait(0, 0), lambda r: r.wait(1, 1), lambda r: r.wait(1, -1)],
    "waitaof": [lambda r: r.waitaof(0, 0, 0), lambda r: r.waitaof(1, 0, 0),
                lambda r: r.waitaof(2, 0, 0)],
    "watch": [lambda r: r.watch("k")],
}


async def timed(s, setter, value, getter):
    """Sets a time to live and reads it back."""
    await flows.done(getattr(s.r, setter)("k", value))
    return await flows.done(getattr(s.r, getter)("k"))


# Methods that send nothing themselves: their objects' calls are among the flows, or they are the
# client's own book-keeping, or doors to modules no server here has.
OWN = {
    "bf", "cf", "cms", "client", "close", "aclose", "digest_local", "from_url", "ft", "get_cache",
    "get_connection_kwargs", "get_encoder", "get_retry", "initialize", "json",
    "load_external_module", "sentinel", "set_response_callback", "set_retry", "tdigest", "topk",
    "ts", "vset", "auto_close_connection_pool",
}

# Methods that build their command in steps, with the command: a later issue's, so not called.
LATER = {
    "client_tracking_off": "CLIENT TRACKING", "client_tracking_on": "CLIENT TRACKING",
    "eval": "EVAL", "eval_ro": "EVAL_RO", "evalsha": "EVALSHA",
    "evalsha_ro": "EVALSHA_RO", "fcall": "FCALL", "fcall_ro": "FCALL_RO",
    "himport_discard": "HIMPORT",
    "himport_discard_all": "HIMPORT", "himport_discard_all_internal": "HIMPORT",
    "himport_discard_internal": "HIMPORT", "himport_prepare": "HIMPORT",
    "himport_prepare_internal": "HIMPORT", "himport_set": "HIMPORT", "hotkeys_start": "HOTKEYS",
    "keyspace_notifications": "SUBSCRIBE",
    "pubsub": "SUBSCRIBE", "register_script": "EVALSHA", "script_debug": "SCRIPT DEBUG",
}


def kind(value):
    """Only what kind of thing it is."""
    return type(value).__name__


def kinds(value):
    """The names of the fields and what kind of thing each holds."""
    return {name: kinds(inner) if isinstance(inner, dict) else kind(inner)
            for name, inner in value.items()}


def page(value):
    """The kinds of a cursor and of a page."""
    return [kind(value), kind(value[0]), kind(value[1])]


def near(value):
    """A time to live, give or take the seconds the test took."""
    return "1000 s" if 900 < value <= 1000 or 900000 < value <= 1000000 else value


def ends(value):
    """The first line and the last two."""
    return [value[0], *value[-2:]]


# What a line of CLIENT LIST says that is neither a clock, nor a number of the connection, nor a
# measure of buffers.
TOLD = ("name", "flags", "db", "sub", "psub", "ssub", "multi", "multi-mem", "events", "cmd",
        "user", "redir", "resp")


def client_line(line):
    """A line's fields, and those values; the two fields that 7.2 added are `client_setinfo`'s."""
    return sorted(set(line) - {"lib-name", "lib-ver"}), {name: line[name] for name in TOLD}


def client_lines(lines):
    """The line about the client itself, and that all lines have the same fields."""
    own = [line for line in lines if line["cmd"] == "client|list"]
    return [client_line(line) for line in own], {tuple(client_line(line)[0]) for line in lines}


# method, or method#step: what is made of both replies before they are compared, and why.
LOOSE = {
    "acl_cat#1": (sorted, "no order is promised"),
    "acl_help": (ends, "the help names the subcommands that exist"),
    "client_id": (kind, "a number of its own on each server"),
    "client_info": (client_line, "addresses, clocks, buffers, and fields 7.2 added"),
    "client_list#0": (client_lines, "the same, and whoever else is connected"),
    "client_list#1": (client_lines, "the same, and whoever else is connected"),
    "command_count": (kind, "commands of later issues are missing"),
    "command_list#1": (sorted, "no order is promised"),
    "command_list#2": (sorted, "no order is promised"),
    "keys": (sorted, "no order is promised"),
    "lastsave": (kind, "a clock"),
    "lolwut": (kind, "each program's own picture and version"),
    "memory_malloc_stats": (kind, "each allocator's own words"),
    "memory_stats": (kinds, "each engine's own count of bytes"),
    "memory_usage": (kind, "each engine's own count of bytes"),
    "object#3": (kind, "a clock"),
    "pttl": (near, "a clock"),
    "randomkey": (kind, "random"),
    "slowlog_len": (kind, "calls may be slow"),
    "scan": (page, "no order is promised, and a page may end anywhere: see scan_iter"),
    "time": (lambda v: [kind(part) for part in v], "a clock"),
    "ttl": (near, "a clock"),
    "xinfo_consumers": (lambda v: [(one["name"], one["pending"]) for one in v],
                        "clocks, and a field that 7.2 added"),
    "xinfo_stream#1": (lambda v: [v["length"], v["entries"], len(v["groups"])],
                       "clocks, and a field that 7.2 added"),
    "xpending_range": (lambda v: [{**one, "time_since_delivered": 0} for one in v], "a clock"),
}

# Commands of 7.2 and later that redis-server 7.0 has not.
SINCE_7_2 = {
    "backup", "backup|abort", "backup|cleanup", "backup|help", "backup|list", "backup|seal",
    "backup|start", "backup|status",
    "client|no-touch", "client|setinfo", "cluster|myshardid", "delex", "delifeq", "digest",
    "hexpire", "hexpireat", "hexpiretime", "hgetdel", "hgetex", "hpersist", "hpexpire",
    "hpexpireat", "hpexpiretime", "hpttl", "hsetex", "httl", "msetex", "waitaof",
}


def fields(got, want):
    """Every field the peer has."""
    return sorted(set(map(str, got)) & set(map(str, want))), sorted(map(str, want))


def different(got, want):
    """The entries that differ, of those both have."""
    names = [name for name in want if name in got and got[name] != want[name]]
    return tuple({name: side[name] for name in names} for side in (got, want))


def settings(got, want):
    """Every setting the peer has, with its value."""
    missing = {name: None for name in want if name not in got}
    given = {name: value for name, value in want.items() if name not in ("port", "dir", "save")}
    return different({**got, **missing}, given)


def described(got, want):
    """What is told of each command that both have."""
    part = ("name", "arity", "first_key_pos", "last_key_pos", "step_count")
    # 7.2 gave WAIT other flags, ZRANK and ZREVRANK an option.
    told = ({name: [sorted(of["flags"]), *(of[field] for field in part)]
             for name, of in side.items()
             if name not in ("wait", "zrank", "zrevrank")} for side in (got, want))
    return different(*told)


def plain(value):
    """Names as text."""
    return {v.decode() if isinstance(v, bytes) else v for v in value}


def listed(got, want):
    """Nothing that the peer has not, but for what is new."""
    return sorted(plain(got) - plain(want)), sorted(SINCE_7_2)


# The same where both replies have to be seen: what is compared then, and why.
PAIRS = {
    "command": (described, "commands of later issues are missing; more is held in its own test"),
    "command_list#0": (listed, "commands of later issues are missing, those of 7.2 are there"),
    "config_get#0": (settings, "settings of 7.2 and our own; port, directory and --save differ"),
    "info": (fields, "values are each server's own; 7.2 and we have further fields"),
}

ACL = {"categories": ["+@all"], "channels": ["&*"], "commands": [], "enabled": True,
       "flags": ["on", "nopass", "sanitize-payload"], "keys": ["~*"], "passwords": [],
       "selectors": []}
GETKEYS = ("ResponseError", "Invalid number of arguments specified for command")
RANGE = ("ResponseError", "value is out of range, must be between 0 and 1")
SPACES = ("ResponseError", "LIB-VER cannot contain spaces, newlines or special characters.")

# method#step: what Redis 7.2 answers where redis-server 7.0 answers otherwise, and why.
CONTRACT = {
    "acl_getuser#0": (ACL, "7.2 names the flag"),
    "acl_list#0": (["user default on nopass sanitize-payload ~* &* +@all"], "7.2 names the flag"),
    "client_no_touch#0": ("OK", "new in 7.2"),
    "client_no_touch#1": (("ResponseError", "syntax error"), "new in 7.2"),
    "client_setinfo#0": (True, "new in 7.2"),
    "client_setinfo#1": (SPACES, "new in 7.2"),
    "client_setinfo#2": (("ResponseError", "Unrecognized option 'odd'"), "new in 7.2"),
    "client_setinfo#3": (("mine", "7"), "new in 7.2"),
    "command_getkeys#1": (GETKEYS, "one argument is enough since 7.2"),
    "command_getkeys#2": (("ResponseError", "The command has no key arguments"), "likewise"),
    "delex#0": (1, "new in 8.4"),
    "delex#1": (0, "new in 8.4"),
    "delex#2": (1, "new in 8.4"),
    "digest#0": ("87d57e269b9df0f0", "new in 8.4"),
    "digest#1": (None, "new in 8.4"),
    "hexpire#0": ([1, -2], "new in 7.4"),
    "hexpire#1": ([2], "new in 7.4"),
    "hexpireat#0": ([0], "new in 7.4"),
    "hexpiretime#0": ([-1, -2], "new in 7.4"),
    "hgetdel#0": (["1", None], "new in 8.0"),
    "hgetex#0": (["1", None], "new in 8.0"),
    "hgetex#1": (["two"], "new in 8.0"),
    "hpersist#0": ([-1, -2], "new in 7.4"),
    "hpexpire#0": ([1], "new in 7.4"),
    "hpexpireat#0": ([1, 1], "new in 7.4"),
    "hpexpiretime#0": ([-1, -2], "new in 7.4"),
    "hpttl#0": ([-1, -2], "new in 7.4"),
    "hsetex#0": (1, "new in 8.0"),
    "hsetex#1": (1, "new in 8.0"),
    "httl#0": ([-1, -2], "new in 7.4"),
    "msetex#0": (1, "new in 8.4"),
    "waitaof#0": ([0, 0], "new in 7.2"),
    "waitaof#1": ([1, 0], "new in 7.2"),
    "waitaof#2": (RANGE, "new in 7.2"),
}
