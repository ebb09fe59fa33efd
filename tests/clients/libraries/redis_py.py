"""Every method of redis-py whose command the server has, called on two servers and compared.

Usage: redis_py.py PORT_OF_REDIS_SERVER PORT_OF_THE_SERVER_UNDER_TEST

The methods are found by reflection over the client class. A method whose command the server under
test has, but for which `METHODS` holds no call, is a failure, and so is a method about which nothing
can be told and that neither `OWN` nor `LATER` names: nothing is forgotten when either side grows.
Each call is made on both servers from the same data, by the blocking and by the asyncio client, in
RESP2 and RESP3; what it returned or raised, and what the databases hold afterwards, must be equal.
The only loosened comparisons are those of `LOOSE` and `PAIRS`; what 7.2 answers otherwise than 7.0
is in `CONTRACT`. Ends with code 1 and the list of differences when there are any.
"""
import asyncio
import inspect
import re
import sys

import redis
import redis.asyncio
import redis.asyncio.retry
import redis.backoff
import redis.retry

from redis_py_flows import PATIENT
from redis_py_table import CONTRACT, LATER, LOOSE, METHODS, OWN, PAIRS

# What every call starts from: in database 0, in database 1.
DATA = {"k": "value", "n": "41", "f": "1.5", "bits": "\x0f\x0a", "lcs1": "ohmytext",
        "lcs2": "mynewtext", "other": "x"}
ELSEWHERE = {"k": "of database 1", "away": "y"}


async def done(value):
    """What either kind of client returned, waited for."""
    return await value if inspect.isawaitable(value) else value


def scored(pairs):
    """Members with scores as numbers."""
    return [float(word) if at % 2 else word for at, word in enumerate(pairs)]


class Side:
    """One server, seen through one kind of client in one protocol."""

    def __init__(self, port, kind, protocol):
        self.port, self.kind, self.protocol = port, kind, protocol
        self.module = redis if kind == "blocking" else redis.asyncio
        self.opened = []
        self.plain = redis.Redis(port=port, protocol=2, **PATIENT)
        self.plain1 = redis.Redis(port=port, protocol=2, db=1, **PATIENT)
        self.r = self.new()

    def new(self, **more):
        """A further client of the same kind. The asyncio ones decode replies, the others do not."""
        more = {"decode_responses": self.kind == "asyncio", "retry": self.again(), **PATIENT,
                **more}
        client = self.module.Redis(port=self.port, protocol=self.protocol, **more)
        self.opened.append(client)
        return client

    def again(self):
        """Three more tries without a pause; the default would sleep."""
        retry = redis.retry if self.kind == "blocking" else redis.asyncio.retry
        return retry.Retry(redis.backoff.NoBackoff(), 3)

    async def close(self):
        for client in self.opened:
            await done(client.aclose() if self.kind == "asyncio" else client.close())
        self.plain.close()
        self.plain1.close()

    async def collect(self, iterator):
        if hasattr(iterator, "__aiter__"):
            return [item async for item in iterator]
        return list(iterator)

    def fill(self):
        self.plain.flushall()
        self.plain.mset(DATA)
        self.plain.execute_command("PFADD", "hll", "a", "b", "c")
        self.plain.execute_command("PFADD", "hll2", "c", "d")
        self.plain.execute_command("HSET", "h", "a", 1, "b", "two")
        self.plain.execute_command("HSET", "one", "field", "value")
        self.plain.execute_command("SADD", "s", 1, 2, 3)
        self.plain.execute_command("SADD", "s2", 2, 3, 4)
        self.plain.execute_command("ZADD", "z", 1, "a", 2.5, "b", 3, "c")
        self.plain.execute_command("ZADD", "z2", 2, "b", 4, "d")
        self.plain.execute_command("GEOADD", "geo", 13.361389, 38.115556, "Palermo",
                                   15.087269, 37.502669, "Catania")
        for n, field in enumerate(["a", "b", "c"], 1):
            self.plain.execute_command("XADD", "x", f"{n}-0", field, n)
        self.plain.execute_command("XGROUP", "CREATE", "x", "g", "0")
        self.plain.execute_command(
            "XREADGROUP", "GROUP", "g", "me", "COUNT", 2, "STREAMS", "x", ">")
        self.plain.execute_command("RPUSH", "l", "a", "b", "c", "b", 1)
        self.plain.execute_command("RPUSH", "l2", "x", "y")
        self.plain.set("timed", "t", ex=1000)
        self.plain1.mset(ELSEWHERE)

    def state(self):
        """Every key of both databases with its value, and whether it ends."""
        held = []
        for number, client in enumerate([self.plain, self.plain1]):
            keys = sorted(client.execute_command("KEYS", "*"))
            with client.pipeline(transaction=False) as pipe:
                for key in keys:
                    read = {b"hash": ["HGETALL", key], b"set": ["SMEMBERS", key],
                            b"list": ["LRANGE", key, 0, -1],
                            b"zset": ["ZRANGE", key, 0, -1, "WITHSCORES"],
                            b"stream": ["XRANGE", key, "-", "+"]}
                    pipe.execute_command(*read.get(client.type(key), ["GET", key]))
                    pipe.execute_command("PTTL", key)
                replies = pipe.execute()
            # 7.2 spells some scores otherwise.
            for i, key in enumerate(keys):
                if client.type(key) == b"zset":
                    replies[2 * i] = scored(replies[2 * i])
            held += [(number, key, replies[2 * i], replies[2 * i + 1] > 0)
                     for i, key in enumerate(keys)]
        return held

    async def call(self, step):
        """What one call gave: its value, or its error with the text."""
        self.fill()
        try:
            given = await done(step(self) if step.__code__.co_varnames[0] == "s" else step(self.r))
        except (redis.RedisError, NotImplementedError, ValueError, TypeError) as error:
            given = Raised((type(error).__name__, str(error)))
        return given


class Raised(tuple):
    """An error's type and text; never loosened."""


def shown(value):
    """A value as text that is the same for equal values."""
    if isinstance(value, dict):
        return "{" + ", ".join(sorted(f"{shown(k)}: {shown(v)}" for k, v in value.items())) + "}"
    if isinstance(value, (set, frozenset)):
        return "{" + ", ".join(sorted(map(shown, value))) + "}"
    if isinstance(value, (list, tuple)):
        return ("list(" if isinstance(value, list) else "tuple(") + ", ".join(map(shown, value)) + ")"
    return repr(value)


def as_text(value):
    """A value with bytes as text, in which the two kinds of client differ."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, dict):
        return {as_text(k): as_text(v) for k, v in value.items()}
    if isinstance(value, tuple):
        return tuple(map(as_text, value))
    return list(map(as_text, value)) if isinstance(value, list) else value


def loosened(name, label, got, want):
    """Both replies, without what may differ."""
    if isinstance(got, Raised) or isinstance(want, Raised):
        return got, want
    if pair := PAIRS.get(label) or PAIRS.get(name):
        return pair[0](got, want)
    if one := LOOSE.get(label) or LOOSE.get(name):
        return one[0](got), one[0](want)
    return got, want


def commands_of(method):
    """The commands a method's source sends as literals; empty when that is not how it sends."""
    found = re.findall(r'execute_command\(\s*["\']([^"\']+)["\']', inspect.getsource(method))
    return [name.lower().split(" ") for name in found]


def forgotten(known):
    """Methods that no table accounts for."""
    missing = []
    containers = {name.split("|")[0] for name in known if "|" in name}

    def exists(words):
        if words[0] in containers and len(words) > 1:
            return "|".join(words[:2]) in known
        return words[0] in known

    for cls in (redis.Redis, redis.asyncio.Redis):
        for name, method in inspect.getmembers(cls, callable):
            if name.startswith("_") or name in METHODS:
                continue
            sent = commands_of(method)
            if sent:
                missing += [f"{name}: {' '.join(words)} exists, and METHODS has no call"
                            for words in sent if exists(words)]
            elif name in LATER:
                if exists(LATER[name].lower().split(" ")):
                    missing.append(f"{name}: {LATER[name]} exists by now, METHODS has no call")
            elif name not in OWN:
                missing.append(f"{name}: unknown what it sends; name it in METHODS, LATER or OWN")
    return sorted(set(missing))


async def compare(kind, protocol, ports):
    peer, subject = (Side(port, kind, protocol) for port in ports)
    differences = []
    count = 0
    for name, steps in METHODS.items():
        for number, step in enumerate(steps):
            label = f"{name}#{number}"
            got = await subject.call(step)
            if label in CONTRACT:
                want, what = CONTRACT[label][0], "the contract"
                got, after = as_text(got), (None, None)
            else:
                want, what = await peer.call(step), "redis-server"
                after = (peer.state(), subject.state())
            got, want = loosened(name, label, got, want)
            count += 1
            where = f"{label}, {kind}, RESP{protocol}"
            if shown(got) != shown(want):
                differences.append(f"{where}:\n  {what}: {shown(want)[:1500]}\n"
                                   f"  subject: {shown(got)[:1500]}")
            elif after[0] != after[1]:
                differences.append(f"{where}: the data afterwards:\n  {after[0]}\n  {after[1]}")
    await peer.close()
    await subject.close()
    return count, differences


def main():
    ports = [int(port) for port in sys.argv[1:3]]
    plain = redis.Redis(port=ports[1], protocol=2, decode_responses=True, **PATIENT)
    known = {name.lower() for name in plain.command_list()}
    plain.close()
    wrong = forgotten(known)
    total = 0
    for kind in ("blocking", "asyncio"):
        for protocol in (2, 3):
            count, differences = asyncio.run(compare(kind, protocol, ports))
            total += count
            wrong += differences
    # The last call of all: what ends the server.
    ends = []
    for port in ports:
        ends.append(redis.Redis(port=port, **PATIENT).shutdown(nosave=True))
    if ends[0] != ends[1]:
        wrong.append(f"shutdown: {ends}")
    if wrong:
        print("\n".join(wrong))
        print(f"{len(wrong)} differences in {total} calls")
        raise SystemExit(1)
    print(f"fine {redis.__version__}: {total} calls, {len(METHODS)} methods")


main()
