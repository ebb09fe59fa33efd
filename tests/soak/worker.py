"""The processes that load the server through redis-py and hold it to what it told them.

A worker writes to keys of its own and knows what they must hold; the watcher reads the counters
that redis-benchmark increments, which must never fall behind what a reply has told. The driver
talks to both through a pipe: `adopt`, `run`, `sprint`, `pause`, `verify`, `stop`.
"""

import collections
import contextlib
import os
import random
import signal
import time

import redis

from model import (Differs, Entry, Machine, Overlay, Plan, SLACK_MS, databases_of, names_of,
                   outcomes, same)

LOST = (redis.ConnectionError, redis.TimeoutError, OSError)
READ_AT_ONCE = 500


def now_ms():
    return time.time_ns() // 1_000_000


def client(port, db=0, protocol=2):
    """A redis-py client that repeats nothing by itself and hands out replies as they came."""
    from redis.backoff import NoBackoff
    from redis.retry import Retry
    options = {"port": port, "db": db, "socket_timeout": 120, "retry": Retry(NoBackoff(), 0),
               "single_connection_client": True}
    try:
        made = redis.Redis(protocol=protocol, **options)
    except TypeError:  # redis-py below 5 speaks RESP2 only
        made = redis.Redis(**options)
    made.response_callbacks.clear()
    return made


def read_back(port, places):
    """[(value or None, expiry in ms, -1 or -2, start, end of the reading)], in order."""
    found = []
    clients = {}
    with contextlib.ExitStack() as open_clients:
        for at in range(0, len(places), READ_AT_ONCE):
            part = places[at:at + READ_AT_ONCE]
            part_found = {}
            start = now_ms()
            for db in sorted({db for db, _ in part}):
                if db not in clients:
                    clients[db] = client(port, db)
                    open_clients.callback(clients[db].close)
                pipe = clients[db].pipeline(transaction=False)
                mine = [place for place in part if place[0] == db]
                for _, key in mine:
                    pipe.execute_command("GET", key)
                    pipe.execute_command("PEXPIRETIME", key)
                replies = pipe.execute()
                part_found.update(zip(mine, zip(replies[::2], replies[1::2])))
            end = now_ms()
            found += [(*part_found[place], start, end) for place in part]
    return found


def fits(entry, value, expiry, start, end):
    """Whether what was read between `start` and `end` is what the entry says."""
    if entry is None or (entry.latest is not None and entry.latest < start - SLACK_MS):
        return value is None
    if entry.latest is None:
        return value == entry.value and expiry == -1
    if entry.earliest <= end + SLACK_MS and (value is None or expiry == -2):
        return True
    return value == entry.value and entry.earliest <= expiry <= entry.latest


def show(value):
    if isinstance(value, bytes) and len(value) > 60:
        return f"{value[:40]!r}… ({len(value)} bytes)"
    if isinstance(value, (list, tuple)):
        return "(" + ", ".join(map(show, value)) + ")"
    return repr(value)


def places_of(number):
    """Every place that a worker may write to."""
    lasting, brief = names_of(number)
    shared, own = databases_of(number)
    return [(db, key) for db in shared + own for key in lasting + brief]


class Worker:
    """One connection per database, a model, and what was sent without having been answered."""

    def __init__(self, number, seed, rate, shards):
        self.rate, self.shards = rate, shards
        self.protocol = 2 + number % 2
        self.model = {}
        self.plan = Plan(number, f"{seed}-worker-{number}", self.model)
        self.places = places_of(number)
        self.clients, self.wire = {}, None
        self.pending, self.sent_at, self.lost_at = [], 0, 0
        self.units = self.commands = 0
        self.resolved = collections.Counter()
        self.trace = collections.deque(maxlen=20_000)

    def close(self):
        for each in self.clients.values():
            with contextlib.suppress(*LOST):
                each.close()
        if self.wire is not None:
            with contextlib.suppress(*LOST):
                self.wire.disconnect()
        self.clients, self.wire = {}, None

    def on(self, port, db):
        if db not in self.clients:
            self.clients[db] = client(port, db, self.protocol)
        return self.clients[db]

    def step(self, port):
        """One batch. A lost connection leaves what was not answered in `pending`."""
        batch = self.plan.batch(now_ms())
        if len(batch) > 1:
            # Nothing is in doubt as long as the connection could not be made.
            self.connect_wire(port)
        else:
            self.on(port, batch[0].ops[0][0])
        self.pending, self.sent_at = list(batch), now_ms()
        if len(batch) > 1:
            self.pipeline(batch)
        else:
            self.alone(port, batch[0])

    def alone(self, port, unit):
        """One command, or one transaction, through the interface that people use."""
        on = self.on(port, unit.ops[0][0])
        if unit.multi:
            pipe = on.pipeline(transaction=True)
            for _, words in unit.ops:
                pipe.execute_command(*words)
            reply = pipe.execute(raise_on_error=False)
        else:
            try:
                reply = on.execute_command(*unit.ops[0][1])
            except redis.ResponseError as error:
                reply = error
        self.acknowledged(unit, reply)

    def connect_wire(self, port):
        if self.wire is None:
            self.wire = self.on(port, 0).connection_pool.make_connection()
            self.wire.connect()

    def pipeline(self, batch):
        """A plain pipeline, reply by reply: those that came before the end are promises."""
        words, wanted = [], []
        for unit in batch:
            words.append(("SELECT", unit.ops[0][0]))
            words += [("MULTI",)] if unit.multi else []
            words += [op for _, op in unit.ops]
            words += [("EXEC",)] if unit.multi else []
            wanted.append((unit, 1 + (1 + len(unit.ops) if unit.multi else 0)))
        self.wire.send_packed_command(self.wire.pack_commands(words))
        for unit, before in wanted:
            for _ in range(before):
                self.reply()
            self.acknowledged(unit, self.reply())

    def reply(self):
        try:
            return self.wire.read_response()
        except redis.ResponseError as error:
            return error

    def acknowledged(self, unit, reply):
        overlay = Overlay(self.model)
        expected = Machine(overlay, self.sent_at, now_ms()).unit(unit)
        self.trace.append((self.sent_at, unit, "answered " + show(reply)))
        if not same(expected, reply):
            raise Differs(f"{show(unit.ops)} was answered {show(reply)} instead of "
                          f"{show(expected)}\n{self.story(key_words(unit))}")
        overlay.commit()
        self.pending.pop(0)
        self.units += 1
        self.commands += len(unit.ops)

    def story(self, keys, most=12):
        """The last things done with some keys."""
        told = [f"    {at} {show(unit.ops)} {what}" for at, unit, what in self.trace
                if any(key in words for key in keys for _, words in unit.ops)
                or any(words[0] in ("FLUSHDB", "SWAPDB") for _, words in unit.ops)]
        return "\n".join(told[-most:])

    def adopt(self, port):
        """Takes over what is there at the start; whoever imported it has checked it."""
        for place, (value, expiry, _, _) in zip(self.places, read_back(port, self.places)):
            if value is not None:
                when = None if expiry == -1 else expiry
                self.model[place] = Entry(value, when, when)
        return len(self.model)

    def verify(self, port):
        """Compares every key; a unit in flight may be there or not. Returns how many are held."""
        self.close()
        found = dict(zip(self.places, read_back(port, self.places)))
        for unit in self.pending:
            self.trace.append((self.sent_at, unit, "IN FLIGHT at the crash"))
        best = None
        for outcome in outcomes(self.model, self.pending, self.sent_at, self.lost_at, self.shards):
            wrong = [place for place in outcome.changed
                     if not fits(outcome.get(place), *found[place])]
            if best is None or len(wrong) < len(best[1]):
                best = outcome, wrong
            if not wrong:
                break
        outcome, wrong = best
        for place, there in found.items():
            if place not in outcome.changed and not fits(self.model.get(place), *there):
                wrong.append(place)
        if wrong:
            raise Differs(self.complaint(wrong, outcome, found))
        if self.pending:
            there = any(e != self.model.get(p) for p, e in outcome.changed.items())
            self.resolved["there" if there else "gone or without effect"] += 1
        outcome.commit()
        self.pending = []
        for place, (value, expiry, _, _) in found.items():
            if value is None:
                self.model.pop(place, None)
            elif expiry > 0:
                self.model[place] = Entry(value, expiry, expiry)
        return len(self.model)

    def complaint(self, wrong, outcome, found):
        lines = [f"{len(wrong)} of {len(found)} keys differ, {len(self.pending)} units in flight"]
        for place in wrong[:5]:
            lines.append(f"  database {place[0]}, key {place[1]!r}: must be "
                         f"{show(outcome.get(place))}, is {show(found[place][:2])}")
            lines.append(self.story([place[1]]))
        return "\n".join(lines)


def key_words(unit):
    return {word for _, words in unit.ops for word in words[1:] if isinstance(word, bytes)}


class Watcher:
    """Reads counters that only grow; what a reply has told must stay true."""

    def __init__(self, seed, rate, counters):
        self.rng, self.rate, self.counters = random.Random(f"{seed}-watcher"), rate, counters
        self.told = {}
        self.client = None
        self.units = self.commands = 0
        self.resolved = collections.Counter()
        self.lost_at = 0

    def close(self):
        if self.client is not None:
            with contextlib.suppress(*LOST):
                self.client.close()
        self.client = None

    def step(self, port):
        if self.client is None:
            self.client = client(port)
        keys = [b"counter:%012d" % self.rng.randrange(self.counters) for _ in range(200)]
        self.check(keys, self.client.execute_command("MGET", *keys))
        self.units += 1
        self.commands += 1

    def check(self, keys, values):
        for key, value in zip(keys, values):
            value, told = int(value or 0), self.told.get(key, 0)
            if value < told:
                raise Differs(f"{key!r} is {value}, a reply had told of {told}")
            self.told[key] = value

    def adopt(self, _port):
        return 0

    def verify(self, port):
        self.close()
        keys = list(self.told)
        on = client(port)
        for at in range(0, len(keys), 1000):
            part = keys[at:at + 1000]
            self.check(part, on.execute_command("MGET", *part))
        on.close()
        return len(keys)


def serve(pipe, port, make):
    """The life of a worker process: does what the driver says and tells what came of it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent, worker = os.getppid(), make()
    while True:
        while not pipe.poll(1.0):
            if os.getppid() != parent:
                return
        order, *where = pipe.recv()
        try:
            if order == "stop":
                return
            if order in ("adopt", "verify"):
                started = time.monotonic()
                held = getattr(worker, order)(where[0])
                pipe.send(("held", held, time.monotonic() - started, dict(worker.resolved)))
            elif order == "run":
                ended, why = work(pipe, worker, port)
                pipe.send((ended, worker.units, worker.commands, why))
        except Differs as differs:
            pipe.send(("differs", str(differs)))
        except LOST as lost:
            pipe.send(("differs", f"while it was to {order}: {lost!r}"))


def work(pipe, worker, port):
    """Runs until the connection is lost or the driver says so; returns which, and why."""
    pause, turn_at = 1.0 / worker.rate, time.monotonic()
    try:
        while True:
            if pipe.poll():
                order = pipe.recv()[0]
                if order == "sprint":
                    pause = 0.0
                else:
                    return "paused", None
            worker.step(port)
            turn_at = max(turn_at + pause, time.monotonic() - 1.0)
            time.sleep(max(0.0, turn_at - time.monotonic()))
    except LOST as lost:
        worker.lost_at = now_ms()
        return "lost", repr(lost)
