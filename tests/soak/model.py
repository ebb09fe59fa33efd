"""What a worker's keys must hold: the string commands on a plain dictionary.

A place is (database, key). An entry has a value and, if it expires, the earliest and the latest
moment (ms since 1970) at which it may: a command with a relative time was executed somewhere
between its sending and its reply. Nothing here knows of connections.
"""

import binascii
import decimal
import itertools
import random
import re
import typing

ANY = object()  # a reply that cannot be foretold: the key was about to expire
ERROR = object()  # some error
SLACK_MS = 100  # between our reading of the clock and the server's of the same one
BIGGEST = 64 << 10  # APPEND and SETRANGE make no value longer than about this
INTEGER = re.compile(rb"(0|-?[1-9][0-9]{0,17})")
DECIMAL = re.compile(rb"-?[0-9]{1,9}(\.[0-9]{1,4})?")
DAY_MS = 86_400_000


class Differs(Exception):
    """Something is not what it has to be."""


class Entry(typing.NamedTuple):
    value: bytes
    earliest: typing.Optional[int] = None
    latest: typing.Optional[int] = None


class Unit(typing.NamedTuple):
    """What takes effect whole or not at all: one command, or MULTI, these, EXEC."""

    multi: bool
    ops: list  # of (database, words)


class Overlay:
    """A dictionary of entries with changes on top of it; notes what was looked at."""

    def __init__(self, base):
        self.base, self.changed, self.seen = base, {}, set()

    def get(self, place):
        self.seen.add(place)
        return self.changed[place] if place in self.changed else self.base.get(place)

    def put(self, place, entry):
        self.changed[place] = entry

    def drop(self, place):
        self.changed[place] = None

    def places(self, db):
        return [p for p in {*self.base, *self.changed} if p[0] == db and self.get(p) is not None]

    def commit(self):
        for place, entry in self.changed.items():
            if entry is None:
                self.base.pop(place, None)
            else:
                self.base[place] = entry


class Machine:
    """Executes words on an overlay, some time between `start` and `end` (ms since 1970)."""

    def __init__(self, overlay, start, end):
        self.state, self.start, self.end = overlay, start, end
        self.db, self.unsure = 0, False

    def unit(self, unit):
        """The replies of a unit: of its one command, or what EXEC answers."""
        replies = []
        for db, words in unit.ops:
            self.db, self.unsure = db, False
            reply = getattr(self, "do_" + words[0].lower())(*words[1:])
            replies.append(ANY if self.unsure else reply)
        return replies if unit.multi else replies[0]

    # What the commands are made of.

    def look(self, key, db=None):
        place = (self.db if db is None else db, key)
        entry = self.state.get(place)
        if entry is None or entry.latest is None:
            return entry
        if entry.latest < self.start - SLACK_MS:
            self.state.drop(place)
            return None
        self.unsure |= entry.earliest <= self.end + SLACK_MS
        return entry

    def put(self, key, value, entry=None, db=None):
        """Sets a value; the expiry is that of `entry`, if one is given."""
        when = (None, None) if entry is None else entry[1:]
        self.state.put((self.db if db is None else db, key), Entry(value, *when))

    def drop(self, key):
        self.state.drop((self.db, key))

    def relative(self, ms):
        return Entry(b"", self.start + ms - SLACK_MS, self.end + ms + SLACK_MS)

    def value(self, key):
        entry = self.look(key)
        return None if entry is None else entry.value

    # Commands on one key.

    def do_set(self, key, value, *options):
        old, options, expiry = self.look(key), list(options), None
        get = "GET" in options
        reply = (None if old is None else old.value) if get else b"OK"
        if ("NX" in options and old is not None) or ("XX" in options and old is None):
            return reply if get else None
        if "KEEPTTL" in options:
            expiry = old
        for word, unit in (("EX", 1000), ("PX", 1)):
            if word in options:
                expiry = self.relative(int(options[options.index(word) + 1]) * unit)
        for word, unit in (("EXAT", 1000), ("PXAT", 1)):
            if word in options:
                at = int(options[options.index(word) + 1]) * unit
                expiry = Entry(b"", at, at)
        self.put(key, value, expiry)
        return reply

    def do_setnx(self, key, value):
        if self.look(key) is not None:
            return 0
        self.put(key, value)
        return 1

    def do_setex(self, key, seconds, value):
        return self.do_set(key, value, "EX", seconds)

    def do_psetex(self, key, ms, value):
        return self.do_set(key, value, "PX", ms)

    def do_get(self, key):
        return self.value(key)

    def do_getset(self, key, value):
        old = self.value(key)
        self.put(key, value)
        return old

    def do_getdel(self, key):
        old = self.value(key)
        if old is not None:
            self.drop(key)
        return old

    def do_getex(self, key, word, at=None):
        old = self.value(key)
        if old is not None:
            self.put(key, old, None if word == "PERSIST" else Entry(b"", int(at), int(at)))
        return old

    def do_append(self, key, tail):
        old = self.look(key) or Entry(b"")
        self.put(key, old.value + tail, old)
        return len(old.value) + len(tail)

    def do_setrange(self, key, offset, piece):
        old = self.look(key) or Entry(b"")
        value = bytearray(old.value.ljust(int(offset), b"\0"))
        value[int(offset):int(offset) + len(piece)] = piece
        self.put(key, bytes(value), old)
        return len(value)

    def do_getrange(self, key, first, last):
        return (self.value(key) or b"")[int(first):int(last) + 1]

    def do_strlen(self, key):
        return len(self.value(key) or b"")

    def do_incrby(self, key, by):
        old = self.look(key) or Entry(b"0")
        if not INTEGER.fullmatch(old.value):
            return ERROR
        new = int(old.value) + int(by)
        self.put(key, b"%d" % new, old)
        return new

    def do_incr(self, key):
        return self.do_incrby(key, 1)

    def do_decr(self, key):
        return self.do_incrby(key, -1)

    def do_decrby(self, key, by):
        return self.do_incrby(key, -int(by))

    def do_incrbyfloat(self, key, by):
        old = self.look(key) or Entry(b"0")
        if not DECIMAL.fullmatch(old.value):
            return ERROR
        new = f"{decimal.Decimal(old.value.decode()) + decimal.Decimal(by):f}"
        new = new.rstrip("0").rstrip(".") if "." in new else new
        new = b"0" if new == "-0" else new.encode()
        self.put(key, new, old)
        return new

    def do_expire(self, key, seconds, *condition):
        return self.do_pexpire(key, int(seconds) * 1000, *condition)

    def do_pexpire(self, key, ms, *condition):
        return self.expire(key, self.relative(int(ms)), int(ms) <= 0, condition)

    def do_pexpireat(self, key, at, *condition):
        return self.expire(key, Entry(b"", int(at), int(at)), int(at) <= self.start, condition)

    def expire(self, key, expiry, past, condition):
        old = self.look(key)
        if old is None or ("NX" in condition and old.latest is not None) or (
                "XX" in condition and old.latest is None):
            return 0
        if past:
            self.drop(key)
        else:
            self.put(key, old.value, expiry)
        return 1

    def do_persist(self, key):
        old = self.look(key)
        if old is None or old.latest is None:
            return 0
        self.put(key, old.value)
        return 1

    # Commands on several keys, and on whole databases.

    def do_mset(self, *pairs):
        for key, value in zip(pairs[::2], pairs[1::2]):
            self.put(key, value)
        return b"OK"

    def do_msetnx(self, *pairs):
        if any([self.look(key) is not None for key in pairs[::2]]):
            return 0
        self.do_mset(*pairs)
        return 1

    def do_mget(self, *keys):
        return [self.value(key) for key in keys]

    def do_exists(self, *keys):
        return sum(self.look(key) is not None for key in keys)

    def do_del(self, *keys):
        count = 0
        for key in keys:
            if self.look(key) is not None:
                self.drop(key)
                count += 1
        return count

    do_unlink = do_del

    def do_rename(self, source, target):
        old = self.look(source)
        if old is None:
            return ERROR
        self.drop(source)
        self.put(target, old.value, old)
        return b"OK"

    def do_renamenx(self, source, target):
        old, new = self.look(source), self.look(target)
        if old is None:
            return ERROR
        if new is not None:
            return 0
        self.do_rename(source, target)
        return 1

    def do_copy(self, source, target, *options):
        db = int(options[options.index("DB") + 1]) if "DB" in options else self.db
        old, new = self.look(source), self.look(target, db)
        if (source, self.db) == (target, db):
            return ERROR
        if old is None or (new is not None and "REPLACE" not in options):
            return 0
        self.put(target, old.value, old, db)
        return 1

    def do_move(self, key, db):
        old, new = self.look(key), self.look(key, int(db))
        if old is None or new is not None:
            return 0
        self.put(key, old.value, old, int(db))
        self.drop(key)
        return 1

    def do_flushdb(self):
        for _, key in self.state.places(self.db):
            self.drop(key)
        return b"OK"

    def do_swapdb(self, one, other):
        one, other = int(one), int(other)
        held = [(p, self.state.get(p)) for db in (one, other) for p in self.state.places(db)]
        for place, _ in held:
            self.state.drop(place)
        for (db, key), entry in held:
            self.state.put((one + other - db, key), entry)
        return b"OK"


def same(expected, got):
    """Whether a reply is the one foretold. Errors arrive as exceptions."""
    if expected is ANY:
        return True
    if expected is ERROR:
        return isinstance(got, Exception)
    if isinstance(expected, list):
        return isinstance(got, list) and len(expected) == len(got) and all(
            map(same, expected, got))
    return type(expected) is type(got) and expected == got


def slot(key):
    """The slot of Redis Cluster; shards own contiguous ranges of them."""
    head, brace, rest = key.partition(b"{")
    tag = rest.partition(b"}")
    if brace and tag[1] and tag[0]:
        key = tag[0]
    return binascii.crc_hqx(key, 0) % 16384


def outcomes(model, pending, start, end, shards):
    """All that may be there after a crash in which `pending` units were not acknowledged.

    A unit counts whole or not at all. Of units that were sent together a later one may be there
    without an earlier one only when they wrote to different shards and the later one has not looked
    at what the earlier one wrote. An acknowledged unit is not in `pending`.
    """
    needs, wrote = [], []
    state = Overlay(model)
    for unit in pending:
        single = Overlay(Flat(state))
        Machine(single, start, end).unit(unit)
        own = {slot(key) * shards // 16384 for _, key in single.changed}
        needs.append({i for i, (places, on) in enumerate(wrote)
                      if on & own or not places.isdisjoint(single.seen)})
        wrote.append((set(single.changed), own))
        state.changed.update(single.changed)
    for chosen in itertools.product((True, False), repeat=len(pending)):
        if all(not there or all(chosen[i] for i in needs[n]) for n, there in enumerate(chosen)):
            overlay = Overlay(model)
            machine = Machine(overlay, start, end)
            for unit, there in zip(pending, chosen):
                if there:
                    machine.unit(unit)
            yield overlay


class Flat(dict):
    """An overlay as a dictionary of its own."""

    def __init__(self, overlay):
        super().__init__(overlay.base)
        for place, entry in overlay.changed.items():
            if entry is None:
                self.pop(place, None)
            else:
                self[place] = entry


def names_of(number, count=1000):
    """The keys of a worker: (lasting, short-lived). Some are kept on one shard by a hash tag."""
    def name(kind, n):
        tag = "{%d}" % (n % 5) if n % 3 == 0 else ""
        text = f"w{number}:{kind}{tag}:{n}".encode()
        return text + b"\x00\xff\r\n" if n % 11 == 0 else text

    return [name("k", n) for n in range(count)], [name("v", n) for n in range(count // 10)]


def databases_of(number):
    """(those it shares with the other workers, the two that are its own)."""
    return [0, 1, 5], [8 + number, 12 + number]


def some_value(rng, largest=100_000):
    """Integers, embedded strings, long ones, binary ones, now and then a big one."""
    kind = rng.random()
    if kind < 0.25:
        return b"%d" % rng.randint(-1 << 40, 1 << 40)
    if kind < 0.75:
        return b"v%0*d" % (rng.randint(1, 40), rng.randrange(1 << 30))
    if kind < 0.90:
        return rng.randbytes(rng.randint(0, 200))
    if kind < 0.997:
        return rng.randbytes(16) * rng.randint(3, 120)
    return rng.randbytes(1024) * rng.randint(1, max(1, largest // 1024))


class Plan:
    """Draws what a worker does next."""

    def __init__(self, number, seed, model):
        self.rng = random.Random(seed)
        self.model = model
        self.lasting, self.brief = names_of(number)
        self.shared, self.own = databases_of(number)
        self.dbs = self.shared + self.own

    def batch(self, now):
        """The units sent together next, mostly one. `now` in ms since 1970."""
        rng, self.now = self.rng, now
        self.state = Overlay(self.model)  # as it will be if nothing is lost
        kind = rng.random()
        if kind < 0.0001:
            words = ("FLUSHDB",) if rng.random() < 0.3 else ("SWAPDB", *map(str, self.own))
            return [Unit(False, [(rng.choice(self.own), words)])]
        if kind < 0.65:
            return [self.single()]
        if kind < 0.85:
            return [self.transaction()]
        return [self.transaction() if rng.random() < 0.2 else self.single()
                for _ in range(rng.randint(2, 8))]

    def transaction(self):
        db = self.rng.choice(self.dbs)
        return Unit(True, [self.op(db) for _ in range(self.rng.randint(2, 5))])

    def single(self):
        return Unit(False, [self.op(self.rng.choice(self.dbs))])

    def op(self, db):
        draw = self.rng.choices(*self.WEIGHTS)[0]
        op = (db, draw(self, db))
        Machine(self.state, self.now, self.now).unit(Unit(False, [op]))
        return op

    def key(self):
        names = self.lasting
        return self.rng.choice(names[:60] if self.rng.random() < 0.5 else names)

    def keys(self, most):
        return list(dict.fromkeys(self.key() for _ in range(self.rng.randint(2, most))))

    def held(self, db, key):
        entry = self.state.get((db, key))
        return b"" if entry is None else entry.value

    def at(self):
        return str(self.now + self.rng.randint(DAY_MS, 300 * DAY_MS))

    def set(self, db):
        return "SET", self.key(), some_value(self.rng)

    def set_with_options(self, db):
        rng = self.rng
        expiry = rng.choice(((), ("KEEPTTL",), ("PXAT", self.at()), ("EX", "90000"),
                             ("PX", "100000000"), ("EXAT", str(int(self.at()) // 1000))))
        options = rng.choice(((), ("NX",), ("XX",), ("GET",), ("XX", "GET")))
        return "SET", self.key(), some_value(rng), *options, *expiry

    def set_once(self, db):
        if self.rng.random() < 0.5:
            return "SETNX", self.key(), some_value(self.rng)
        return "GETSET", self.key(), some_value(self.rng)

    def lengthen(self, db):
        key = self.key()
        held = self.held(db, key)
        if len(held) > BIGGEST:
            return "SET", key, some_value(self.rng)
        if self.rng.random() < 0.6:
            return "APPEND", key, some_value(self.rng, 4000)
        offset = self.rng.randint(0, len(held) + 20)
        return "SETRANGE", key, str(offset), b"piece%d" % self.rng.randrange(1000)

    def count(self, db):
        rng, key = self.rng, self.key()
        held = self.held(db, key)
        if rng.random() < 0.25 and (not held or DECIMAL.fullmatch(held)):
            return "INCRBYFLOAT", key, rng.choice(("0.25", "-1.5", "3"))
        if held and not INTEGER.fullmatch(held) and rng.random() < 0.9:
            return "SET", key, b"%d" % rng.randrange(1000)
        return rng.choice((("INCR", key), ("DECR", key), ("INCRBY", key, str(rng.randrange(9999))),
                           ("DECRBY", key, str(rng.randrange(9999)))))

    def remove(self, db):
        rng = self.rng
        if rng.random() < 0.3:
            return "GETDEL", self.key()
        return rng.choice(("DEL", "UNLINK")), *self.keys(3)

    def several(self, db):
        name = "MSETNX" if self.rng.random() < 0.2 else "MSET"
        pairs = [(key, some_value(self.rng, 4000)) for key in self.keys(6)]
        return name, *itertools.chain.from_iterable(pairs)

    def rename(self, db):
        source, target = self.key(), self.key()
        if self.rng.random() < 0.7 and not self.held(db, source):
            source = next((k for k in self.lasting[:60] if self.held(db, k)), source)
        return "RENAMENX" if self.rng.random() < 0.3 else "RENAME", source, target

    def copy(self, db):
        rng = self.rng
        options = ("REPLACE",) if rng.random() < 0.6 else ()
        if rng.random() < 0.5:
            options = ("DB", str(rng.choice(self.dbs)), *options)
        return "COPY", self.key(), self.key(), *options

    def move(self, db):
        return "MOVE", self.key(), str(self.rng.choice([d for d in self.dbs if d != db]))

    def expire(self, db):
        rng, key = self.rng, self.key()
        condition = rng.choice(((), (), ("NX",), ("XX",)))
        return rng.choice((
            ("EXPIRE", key, "200000", *condition), ("PEXPIRE", key, "300000000", *condition),
            ("PEXPIREAT", key, self.at(), *condition), ("EXPIRE", key, "-1"),
            ("GETEX", key, "PXAT", self.at()), ("GETEX", key, "PERSIST"),
            ("PERSIST", key), ("PERSIST", key)))

    def short_lived(self, db):
        rng, key = self.rng, self.rng.choice(self.brief)
        value = some_value(rng, 1000)
        return rng.choice((
            ("SETEX", key, str(rng.randint(1, 15)), value), ("SET", key, value),
            ("PSETEX", key, str(rng.randint(1, 9000)), value),
            ("SET", key, value, "PX", str(rng.randint(500, 5000))), ("GET", key), ("DEL", key)))

    def read(self, db):
        return self.rng.choice((
            ("GET", self.key()), ("MGET", *self.keys(8)), ("STRLEN", self.key()),
            ("GETRANGE", self.key(), "0", "99"), ("EXISTS", *self.keys(4))))

    WEIGHTS = (
        (set, set_with_options, set_once, lengthen, count, remove, several, rename, copy, move,
         expire, short_lived, read),
        (16, 10, 6, 12, 12, 8, 10, 7, 4, 4, 10, 7, 10),
    )
