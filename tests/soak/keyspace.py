"""Real input: fills a redis-server, hands its AOF to redis-cli, and compares whole keyspaces."""

import hashlib
import os
import random
import subprocess
import time
import typing

import model
from model import Differs, some_value
from worker import client, now_ms

DATABASES = 16
FILLED = (0, 1, 2, 5, 7)  # 8 to 15 are the workers' own
AT_ONCE = 1000
# How far two readings of the clock may lie apart when it is asked whether a key has expired.
LATE_MS = 2000


class Print(typing.NamedTuple):
    """What is kept of a key: length and digest of the value, expiry (ms since 1970 or -1)."""

    length: int
    digest: bytes
    expiry: int


def name(n):
    """Key number n: in one of several shapes, never one of the load's own."""
    shape = n % 8
    if shape == 0:
        return b"session:%d" % n
    if shape == 1:
        return b"user:{%d}:profile" % (n // 16)
    if shape == 2:
        return b"\x00\xff\x80" + hashlib.blake2b(b"%d" % n, digest_size=12).digest()
    if shape == 3:
        return b"%d" % n
    if shape == 4:
        return f"Schlüssel {n} — ключ".encode()
    if shape == 5:
        return b"long:" + b"x" * (n % 700) + b":%d" % n
    if shape == 6:
        return b"line\r\n%d\r\n$5\r\n" % n
    return b"cache:page:%d:{tag%d}" % (n, n % 3)


class Fill:
    """Draws the commands that make the keyspace; many fail (INCR of a text), as in real life."""

    def __init__(self, seed, keys):
        self.rng = random.Random(f"{seed}-fill")
        self.keys = keys
        self.now = now_ms()

    def key(self):
        return name(self.rng.randrange(self.keys))

    def value(self):
        kind = self.rng.random()
        if kind < 0.98:
            return some_value(self.rng, 100)
        if kind < 0.998:
            return self.rng.randbytes(self.rng.randint(1000, 9000))
        return self.rng.randbytes(64) * self.rng.randint(200, 1600)

    def expiry(self):
        """Mostly far away, some within the soak, some at once."""
        kind = self.rng.random()
        days = self.rng.randint(model.DAY_MS, 400 * model.DAY_MS)
        minutes = self.rng.randint(600_000, 3_000_000)
        return self.now + (days if kind < 0.8 else minutes if kind < 0.97 else 10)

    def set(self):
        rng = self.rng
        option = rng.choice((
            (), (), (), ("EX", rng.randint(90_000, 900_000)), ("PX", rng.randint(10**8, 10**9)),
            ("PXAT", self.expiry()), ("EXAT", self.expiry() // 1000), ("KEEPTTL",), ("NX",),
            ("XX",), ("GET",)))
        return "SET", self.key(), self.value(), *option

    def one(self):
        rng, key = self.rng, self.key()
        return rng.choice((
            ("SETNX", key, self.value()), ("SETEX", key, rng.randint(90_000, 10**7), self.value()),
            ("PSETEX", key, rng.randint(10**8, 10**9), self.value()),
            ("APPEND", key, self.value()), ("SETRANGE", key, rng.randint(0, 300), "piece"),
            ("INCR", key), ("DECR", key), ("INCRBY", key, rng.randint(-10**12, 10**12)),
            ("DECRBY", key, rng.randint(0, 10**6)), ("INCRBYFLOAT", key, "0.1"),
            ("GETSET", key, self.value()), ("GETDEL", key), ("GETEX", key, "PXAT", self.expiry()),
            ("GETEX", key, "PERSIST"), ("DEL", key), ("UNLINK", key, self.key()),
            ("SET", key, b""), ("SET", key, rng.randint(-9999, 9999))))

    def generic(self):
        rng, key = self.rng, self.key()
        return rng.choice((
            ("RENAME", key, self.key()), ("RENAMENX", key, self.key()), ("COPY", key, self.key()),
            ("COPY", key, self.key(), "DB", rng.choice(FILLED), "REPLACE"),
            ("MOVE", key, rng.choice(FILLED)), ("EXPIRE", key, rng.randint(90_000, 10**7)),
            ("PEXPIREAT", key, self.expiry()), ("EXPIRE", key, 10**6, "GT"), ("PERSIST", key),
            ("TOUCH", key), ("EXPIRE", key, -1)))

    def mset(self):
        words = ["MSETNX" if self.rng.random() < 0.1 else "MSET"]
        for _ in range(self.rng.randint(2, 8)):
            words += [self.key(), self.value()]
        return tuple(words)

    def command(self):
        draw = self.rng.choices((self.set, self.one, self.generic, self.mset), (60, 20, 15, 5))[0]
        return draw()


def fill(port, seed, keys, workers):
    """Makes about `keys` keys in all, part of them before the log is rewritten, part behind it."""
    plan, commands = Fill(seed, keys), 0
    clients = {db: client(port, db) for db in range(DATABASES)}
    rewritten = False
    while sum(c.execute_command("DBSIZE") for c in clients.values()) < keys:
        # A database at a time, the first mostly; one batch in ten is a transaction.
        db = 0 if plan.rng.random() < 0.7 else plan.rng.choice(FILLED)
        pipe = clients[db].pipeline(transaction=plan.rng.random() < 0.1)
        for _ in range(AT_ONCE):
            pipe.execute_command(*plan.command())
        commands += len(pipe.execute(raise_on_error=False))
        if not rewritten and clients[0].execute_command("DBSIZE") > keys // 3:
            clients[2].execute_command("SWAPDB", 2, 7)
            rewrite(clients[0])
            rewritten = True
    for number in range(workers):
        lasting, _ = model.names_of(number)
        shared, own = model.databases_of(number)
        for db in shared + own:
            pipe = clients[db].pipeline(transaction=False)
            for key in plan.rng.sample(lasting, len(lasting) // 3):
                pipe.execute_command("SET", key, plan.value())
            commands += len(pipe.execute())
    for each in clients.values():
        each.close()
    return commands


def rewrite(on):
    on.execute_command("BGREWRITEAOF")
    busy = (b"aof_rewrite_in_progress:1", b"aof_rewrite_scheduled:1")
    while True:
        info = on.execute_command("INFO", "persistence")
        # RESP3 names the encoding; the clients here speak RESP2.
        if not any(word in info for word in busy):
            if b"aof_last_bgrewrite_status:ok" not in info:
                raise RuntimeError("redis-server could not rewrite its log")
            return
        time.sleep(0.05)


def log_files(directory):
    """The files of an AOF directory in the order of its manifest."""
    home = os.path.join(directory, "appendonlydir")
    kinds = {"b": [], "i": []}
    with open(os.path.join(home, "appendonly.aof.manifest")) as manifest:
        for line in manifest:
            words = line.split()
            fields = dict(zip(words[::2], words[1::2]))
            if fields.get("type") in kinds:
                kinds[fields["type"]].append((int(fields["seq"]), fields["file"]))
    return [os.path.join(home, file) for kind in "bi" for _, file in sorted(kinds[kind])]


def pipe_into(port, directory):
    """Feeds a redis-server's log to `redis-cli --pipe`; returns (bytes, what it said last)."""
    cli = subprocess.Popen(["redis-cli", "-h", "127.0.0.1", "-p", str(port), "--pipe"],
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT)
    size = 0
    try:
        for path in log_files(directory):
            with open(path, "rb") as file:
                while block := file.read(1 << 20):
                    cli.stdin.write(block)
                    size += len(block)
        said, _ = cli.communicate(timeout=600)
    finally:
        if cli.poll() is None:
            cli.kill()
            cli.wait()
    last = said.decode("utf-8", "replace").strip().splitlines()[-1:]
    return size, last[0] if last else "nothing"


def take(port):
    """Everything: ({place: Print}, the time when the reading was over). No one may be writing."""
    found = {}
    for db in range(DATABASES):
        on = client(port, db)
        keys, cursor = set(), b"0"
        while on.execute_command("DBSIZE"):
            cursor, some = on.execute_command("SCAN", cursor, "COUNT", 2000)
            keys.update(some)
            if cursor == b"0":
                break
        found.update(prints(on, db, list(keys)))
        on.close()
    return found, now_ms()


def prints(on, db, keys):
    """{place: Print} of those keys that are there."""
    found = {}
    for at in range(0, len(keys), AT_ONCE):
        part = keys[at:at + AT_ONCE]
        pipe = on.pipeline(transaction=False)
        for key in part:
            pipe.execute_command("TYPE", key)
            pipe.execute_command("GET", key)
            pipe.execute_command("PEXPIRETIME", key)
        replies = pipe.execute()
        for key, kind, value, expiry in zip(part, replies[::3], replies[1::3], replies[2::3]):
            if kind == b"none" or value is None or expiry == -2:
                continue
            if kind != b"string":
                raise Differs(f"database {db}: {key!r} is a {kind!r}")
            digest = hashlib.blake2b(value, digest_size=16).digest()
            found[db, key] = Print(len(value), digest, expiry)
    return found


def compare(what, expected, got, read_until):
    """Raises unless both are the same, but for what had expired by the end of the reading."""
    gone = read_until + LATE_MS
    wrong = [place for place in expected.keys() | got.keys()
             if expected.get(place) != got.get(place) and not all(
                 p is None or 0 < p.expiry <= gone for p in (expected.get(place), got.get(place)))]
    if wrong:
        lines = [f"{what}: {len(wrong)} keys differ ({len(expected)} expected, {len(got)} there)"]
        lines += [f"  database {db}, key {key!r}: must be {expected.get((db, key))}, is "
                  f"{got.get((db, key))}" for db, key in sorted(wrong)[:10]]
        raise Differs("\n".join(lines))
    return len(expected.keys() & got.keys())


def compare_some(port, what, expected, places):
    """Looks some places up and compares them."""
    got = {}
    for db in sorted({db for db, _ in places}):
        on = client(port, db)
        got.update(prints(on, db, [key for d, key in places if d == db]))
        on.close()
    return compare(what, {p: expected[p] for p in places}, got, now_ms())


def wait_for_sizes(port, found, what, seconds=20.0):
    """DBSIZE of every database is the number of keys found, once what has expired is removed."""
    end = time.monotonic() + seconds
    while True:
        now = now_ms()
        wrong = []
        for db in range(DATABASES):
            on = client(port, db)
            size = on.execute_command("DBSIZE")
            on.close()
            mine = [p for (d, _), p in found.items() if d == db]
            least = sum(not 0 < p.expiry <= now + LATE_MS for p in mine)
            if not least <= size <= len(mine):
                wrong.append(f"database {db}: DBSIZE {size}, {len(mine)} keys found")
        if not wrong:
            return
        if time.monotonic() > end:
            raise Differs(f"{what}: " + "; ".join(wrong))
        time.sleep(0.5)
