#!/usr/bin/env python3
"""Power cuts and frozen disks on real file systems. See tests/power/README.md. Needs root.

    tests/power/power_cut.py                       3 rounds per file system and policy
    tests/power/power_cut.py --rounds 30           the long form
    tests/power/power_cut.py --only turned         cuts right behind CONFIG SET appendonly
    tests/power/power_cut.py --server redis        the harness proved with redis-server
    tests/power/power_cut.py --plant always=no     a lie: must fail (exit 0 if it is caught)
    tests/power/power_cut.py --check               exit 3 if this machine cannot run it

Exit code 0: everything held; 1: a promise was broken; 3: cannot run here.
"""

import argparse
import contextlib
import fcntl
import os
import pathlib
import random
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "perf"))
sys.dont_write_bytecode = True
import harness  # noqa: E402
from harness import Client, RespError, Server, encode  # noqa: E402

# FS_IOC_SHUTDOWN, the same number for ext4 and xfs: _IOR('X', 125, u32). The flag says whether the
# journal is flushed first; a power cut does not ask, so both are tried, the harsher one mostly.
FS_IOC_SHUTDOWN = 0x8004587D
LOG_FLUSH, NO_LOG_FLUSH = 1, 2
MAKE = {"ext4": ["mkfs.ext4", "-q", "-F"], "xfs": ["mkfs.xfs", "-q", "-f"]}
IMAGE_BYTES = 1 << 30
WRITERS = 8
# How much later than it was told a client may notice it, in seconds: eight threads of one Python.
LATENESS = 0.1


class Broken(Exception):
    """A promise was broken."""


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


class Disk:
    """A file system in an image file, mounted through a loop device."""

    def __init__(self, kind, work):
        self.home = tempfile.mkdtemp(prefix=f"ringstone-power-{kind}-", dir=work)
        self.image = os.path.join(self.home, "image")
        self.path = os.path.join(self.home, "mnt")
        os.mkdir(self.path)
        with open(self.image, "wb") as image:
            image.truncate(IMAGE_BYTES)
        run(*MAKE[kind], self.image)
        self.mounted = False
        self.frozen = False

    def mount(self):
        run("mount", "-o", "loop", self.image, self.path)
        self.mounted = True

    def unmount(self, seconds=20.0):
        """A ring of a killed process is torn down behind its back, so the mount may be busy."""
        end = time.monotonic() + seconds
        while self.mounted:
            try:
                run("umount", self.path)
                self.mounted = False
            except RuntimeError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def cut(self, flag):
        """From here on nothing more reaches the image: dirty pages are lost, flushes fail."""
        handle = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, FS_IOC_SHUTDOWN, struct.pack("I", flag))
        finally:
            os.close(handle)

    def freeze(self):
        run("fsfreeze", "-f", self.path)
        self.frozen = True

    def thaw(self):
        if self.frozen:
            run("fsfreeze", "-u", self.path)
            self.frozen = False

    def remove(self):
        self.thaw()
        self.unmount()
        shutil.rmtree(self.home, ignore_errors=True)


class Writer(threading.Thread):
    """One connection that remembers what it was told.

    Its batches hold, in random number: `SET <n>` with n counting up, a transaction over two keys, a
    look at how far another writer has come, and, one batch later, a note of what it saw there.
    """

    def __init__(self, prefix, number, port, seed):
        super().__init__(daemon=True)
        self.prefix, self.number = prefix, number
        self.random = random.Random(seed)
        self.client = Client(port)
        self.batch_of = []  # by n
        # Who was told is a pair: when the reply came, when its request had been sent.
        self.acked = []  # by n, told or None: never acknowledged
        self.observed = []  # (told, other writer, its n) as a reply said
        self.notes = []  # (key, other writer, its n), acknowledged or not
        self.transactions = []  # (told, value) of those acknowledged
        self.refusal = None
        self.stop = threading.Event()

    def key(self, kind, n=None, number=None):
        number = self.number if number is None else number
        return f"{self.prefix}:{kind}:{number}" + ("" if n is None else f":{n}")

    def build(self, batch):
        """The requests of a batch with, for each, what its reply means."""
        requests, meanings = [], []

        def add(meaning, *words):
            requests.append(encode(*words))
            meanings.append(meaning)

        if self.observed and self.random.random() < 0.5:
            _, other, seen = self.observed[-1]
            note = self.key("note", len(self.notes))
            self.notes.append((note, other, seen))
            add(None, "SET", note, f"{other}:{seen}")
        for _ in range(self.random.randint(1, 16)):
            n = len(self.batch_of)
            self.batch_of.append(batch)
            self.acked.append(None)
            add(("write", n), "SET", self.key("n", n), n)
        if self.random.random() < 0.2:
            value = (self.transactions[-1][1] if self.transactions else 0) + 1
            add(None, "MULTI")
            add(None, "SET", self.key("left"), value)
            add(None, "SET", self.key("right"), value)
            add(("transaction", value), "EXEC")
        add(None, "SET", self.key("last"), len(self.batch_of) - 1)
        if self.random.random() < 0.3:
            other = self.random.randrange(WRITERS)
            add(("look", other), "GET", self.key("last", number=other))
        return requests, meanings

    def run(self):
        batch = 0
        with contextlib.suppress(OSError, ConnectionError):
            while not self.stop.is_set():
                requests, meanings = self.build(batch)
                sent = time.monotonic()
                self.client.socket.sendall(b"".join(requests))
                for meaning in meanings:
                    reply = self.client.receive()
                    if isinstance(reply, RespError):
                        # Refused (MISCONF after the cut): what the batch did is unknown.
                        self.refusal = str(reply)
                        return
                    self.note(meaning, reply, sent)
                batch += 1

    def note(self, meaning, reply, sent):
        if meaning is None:
            return
        kind, what = meaning
        told = time.monotonic(), sent
        if kind == "write":
            self.acked[what] = told
        elif kind == "transaction" and reply is not None:
            self.transactions.append((told, what))
        elif kind == "look" and reply is not None:
            self.observed.append((told, what, int(reply)))


def fetch(client, keys):
    """Values of many keys, in order."""
    out = []
    for at in range(0, len(keys), 1000):
        part = keys[at:at + 1000]
        client.socket.sendall(b"".join(encode("GET", key) for key in part))
        for _ in part:
            value = client.receive()
            if isinstance(value, RespError):
                raise Broken(f"reading back: {value}")
            out.append(value)
    return out


def verify(client, writers, policy, cut, window):
    """Compares what is there with what was promised; the age of the oldest lost write in seconds.

    `cut` is when the shutdown began and when it had ended. Under `always` what counts are replies
    that came before it, and replies to what was sent behind it. The others count for nothing: a
    machine without power sends none, and ext4, giving up its journal, confirms a flush that is lost
    with it (`flush_truth.py` shows it without any server).

    Held against the server: an acknowledged write missing (`always`), or missing ones whose
    acknowledgements lie more than `window` apart (`everysec`: while a flush is slow the server stops
    acknowledging, so the age of the oldest says nothing but how slow the disk was); under `always`
    anything a reply told of; under every policy a write that survives an earlier one of its connection, a torn transaction, a note that
    survives what it tells of, a value that was never written.
    """
    cut_at, cut_over = cut

    def counts(told):
        came, sent = told
        return came < cut_at or sent > cut_over

    have = []
    for writer in writers:
        values = fetch(client, [writer.key("n", n) for n in range(len(writer.batch_of))])
        for n, value in enumerate(values):
            if value is not None and value != str(n).encode():
                raise Broken(f"{writer.key('n', n)} is {value!r}")
        have.append([value is not None for value in values])
    lost_age, kept, acked = 0.0, 0, 0
    lost = []
    for writer, there in zip(writers, have):
        first_missing = next((n for n, present in enumerate(there) if not present), len(there))
        kept += sum(there)
        acked += sum(told is not None for told in writer.acked)
        for n, present in enumerate(there):
            if present and first_missing < n and (
                    writer.batch_of[n] > writer.batch_of[first_missing]):
                raise Broken(f"{writer.key('n', n)} is there, the earlier {first_missing} is not")
            told = writer.acked[n]
            if present or told is None:
                continue
            at = told[0]
            lost_age = max(lost_age, cut_at - at)
            lost.append(min(at, cut_at))
            if policy == "always" and counts(told):
                raise Broken(f"{writer.key('n', n)} was acknowledged {cut_at - at:.3f} s before "
                             "the cut and is missing")
        left, right = fetch(client, [writer.key("left"), writer.key("right")])
        if left != right:
            raise Broken(f"transaction torn: {writer.key('left')} {left!r}, right {right!r}")
        promised = max((what for told, what in writer.transactions if counts(told)), default=0)
        if policy == "always" and int(left or 0) < promised:
            raise Broken(f"transaction {promised} was acknowledged, {left!r} is there")
        if policy == "always":
            for told, other, seen in writer.observed:
                if counts(told) and not have[other][seen]:
                    raise Broken(f"a reply told of {writers[other].key('n', seen)}, it is missing")
        notes = fetch(client, [note for note, _, _ in writer.notes])
        for value, (note, other, seen) in zip(notes, writer.notes):
            if value is not None and not have[other][seen]:
                raise Broken(f"{note} survived, {writers[other].key('n', seen)} it saw did not")
    if policy == "everysec" and lost and max(lost) - min(lost) > window + LATENESS:
        raise Broken(f"what is missing was acknowledged over {max(lost) - min(lost):.3f} s, longer "
                     f"than {window} s")
    return lost_age, kept, acked


class Rewriter(threading.Thread):
    """Rewrites the log over and over, until its server is gone."""

    def __init__(self, port, delay):
        super().__init__(daemon=True)
        self.client = Client(port)
        # Microseconds per key: with some the cut finds a base under way, without a manifest.
        self.delay = delay
        self.begun = 0
        self.stop = threading.Event()

    def run(self):
        with contextlib.suppress(OSError, ConnectionError):
            self.client.call("CONFIG", "SET", "rdb-key-save-delay", self.delay)
            while not self.stop.is_set():
                reply = self.client.call("BGREWRITEAOF")
                self.begun += not isinstance(reply, RespError)
                time.sleep(0.05)


def until_acknowledged(writers, seconds=30.0):
    """A disk may be so slow that nothing is by then, and the round would show nothing."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not any(any(writer.acked) for writer in writers):
        time.sleep(0.01)


def one_cut(disk, template, policy, claimed, number, args, rng, before):
    """Load, cut, kill, journal recovery, restart, verification; the writers, for the next round."""
    directory = os.path.join(disk.path, "data")
    os.makedirs(directory, exist_ok=True)
    method = args.methods.split(",")[number % len(args.methods.split(","))]
    template += f" --aof-commit-method {method}" if method else ""
    server = Server(template, policy, shards=args.shards, directory=directory)
    rewriter = None
    try:
        server.wait_ready()
        prefix = f"r{number}"
        writers = [Writer(prefix, i, server.port, rng.random()) for i in range(WRITERS)]
        for writer in writers:
            writer.start()
        if args.rewrites:
            rewriter = Rewriter(server.port, rng.choice(("0", "0", "20")))
            rewriter.start()
        time.sleep(rng.uniform(0.3, 1.5) if claimed == "always" else rng.uniform(2.5, 4.0))
        until_acknowledged(writers)
        flag = LOG_FLUSH if rng.random() < 0.25 else NO_LOG_FLUSH
        cut_at = time.monotonic()
        disk.cut(flag)
        cut = cut_at, time.monotonic()
        # What the server says from now on it has to answer for as well.
        time.sleep(rng.uniform(0.0, 0.5))
    finally:
        server.kill()
    begun = 0
    for thread in [*writers, *([rewriter] if rewriter else [])]:
        thread.stop.set()
        thread.join(10)
    if rewriter is not None:
        begun = rewriter.begun
    disk.unmount()
    disk.mount()
    server = Server(template, policy, shards=args.shards, directory=directory)
    try:
        server.wait_ready()
        client = Client(server.port)
        lost, kept, acked = verify(client, writers, claimed, cut, args.window)
        if before is not None:
            keys, values = before
            if fetch(client, keys) != values:
                raise Broken("what the round before recovered is not what is there now")
        keys = [writer.key("n", n) for writer in writers for n in range(len(writer.batch_of))]
        keys = keys[-20000:]
        before = keys, fetch(client, keys)
        client.close()
    finally:
        # Half of the restarts follow a clean stop, half a kill.
        if rng.random() < 0.5 and server.process.poll() is None:
            server.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.process.wait(20)
        server.kill()
    if acked == 0:
        raise Broken("nothing was acknowledged before the cut: the round shows nothing")
    print(f"  round {number}: {acked} acknowledged, {kept} kept, oldest lost "
          f"{lost:.3f} s before the cut, journal {'flushed' if flag == LOG_FLUSH else 'lost'}, "
          f"{method or 'usual'} method, {begun} rewrites", flush=True)
    return before, lost


def turn(client, rng):
    """Turns the log off, or off and on, under load. What was acknowledged before the moment that is
    given has to survive a loss of power from now on."""
    def set_log(word):
        reply = client.call("CONFIG", "SET", "appendonly", word)
        if reply != b"OK":
            raise Broken(f"CONFIG SET appendonly {word}: {reply!r}")

    before = time.monotonic()
    set_log("no")
    how = rng.choice(("off", "on", "confirmed", "confirmed"))
    if how == "off":
        return before, how
    time.sleep(rng.uniform(0.0, 0.2))
    client.call("CONFIG", "SET", "rdb-key-save-delay", rng.choice(("0", "20")))
    set_log("yes")
    if how == "on":
        # The base may have become the log by then, or not.
        time.sleep(rng.choice((0.0, rng.uniform(0.0, 0.3))))
        return before, how
    moment = time.monotonic()
    reply = client.call("WAITAOF", "1", "0", "0")
    if not isinstance(reply, list) or reply[0] != 1:
        raise Broken(f"WAITAOF: {reply!r}")
    return moment, how


def one_turned(disk, template, policy, number, args, rng):
    """The power goes right behind CONFIG SET appendonly; what is there behind the restart."""
    directory = os.path.join(disk.path, "data")
    os.makedirs(directory, exist_ok=True)
    methods = args.methods.split(",")
    method = methods[number % len(methods)]
    template += f" --aof-commit-method {method}" if method else ""
    server = Server(template, policy, shards=args.shards, directory=directory)
    try:
        server.wait_ready()
        client = Client(server.port)
        client.socket.settimeout(60)
        # So that a base is soon written.
        client.call("FLUSHALL")
        writers = [Writer(f"t{number}", i, server.port, rng.random()) for i in range(WRITERS)]
        for writer in writers:
            writer.start()
        time.sleep(rng.uniform(0.2, 0.6))
        until_acknowledged(writers)
        moment, how = turn(client, rng)
        disk.cut(NO_LOG_FLUSH)
    finally:
        server.kill()
    for writer in writers:
        writer.stop.set()
        writer.join(10)
    disk.unmount()
    disk.mount()
    server = Server(template, policy, shards=args.shards, directory=directory)
    try:
        server.wait_ready()
        client = Client(server.port)
        # The log was sealed, or began with a base: either is durable under every policy.
        _, kept, acked = verify(client, writers, "always", (moment, float("inf")), args.window)
        client.close()
    finally:
        server.kill()
    if acked == 0:
        raise Broken("nothing was acknowledged before the cut: the round shows nothing")
    print(f"  turned {number}: {how}, {method or 'usual'} method, {acked} acknowledged, "
          f"{kept} kept", flush=True)


def turned(kind, policy, template, args, seed):
    """Rounds of cuts behind CONFIG SET appendonly; true if a promise was broken."""
    rng = random.Random(f"{seed}-turned-{kind}-{policy}")
    disk = Disk(kind, args.work)
    try:
        disk.mount()
        for number in range(1, args.rounds + 1):
            one_turned(disk, template, policy, number, args, rng)
        print(f"{kind} {policy}: {args.rounds} power cuts behind CONFIG SET appendonly held",
              flush=True)
        return False
    except (Broken, TimeoutError) as e:
        print(f"{kind} {policy} turned: BROKEN: {e!r}", flush=True)
        return True
    finally:
        disk.remove()


def wait_reply(client, seconds):
    """The next reply, or None if none begins in time. Nothing may be waiting in the buffer."""
    ready, _, _ = select.select([client.socket], [], [], seconds)
    return client.receive() if ready else None


def frozen(disk, template, args):
    """While the disk is frozen: no write answered, no read that depends on it, other reads are."""
    directory = os.path.join(disk.path, "frozen")
    os.makedirs(directory, exist_ok=True)
    server = Server(template, "always", shards=args.shards, directory=directory)
    cold = [f"key:{i:012d}" for i in range(0, 200_000, 5000)]
    try:
        server.wait_ready()
        harness.preload(server.port, 200_000)
        writer, dependent, again = Client(server.port), Client(server.port), Client(server.port)
        others = [Client(server.port) for _ in cold]
        disk.freeze()
        writer.send("SET", "hot", "new")
        if wait_reply(writer, 1.0) is not None:
            raise Broken("a write was answered while the disk was frozen")
        dependent.send("GET", "hot")
        for client, key in zip(others, cold):
            client.send("GET", key)
        answered = sum(wait_reply(client, 0.2) is not None for client in others)
        # A reply is held per segment of the table, so a few cold keys may share the hot one's.
        if not args.reads_may_block and answered < len(cold) * 3 // 4:
            raise Broken(f"only {answered} of {len(cold)} unrelated reads were answered")
        if wait_reply(dependent, 0.5) is not None:
            raise Broken("a read that depends on a held write was answered")
        again.send("SET", "hot2", "new")
        if wait_reply(again, 0.5) is not None:
            raise Broken("a second write was answered while the disk was frozen")
        disk.thaw()
        told = [wait_reply(c, 10.0) for c in (writer, dependent, again)]
        if told != [b"OK", b"new", b"OK"]:
            raise Broken(f"after the thaw the held replies were {told}")
        server.kill()
        server = Server(template, "always", shards=args.shards, directory=directory)
        server.wait_ready()
        client = Client(server.port)
        if fetch(client, ["hot", "hot2"]) != [b"new", b"new"]:
            raise Broken("an acknowledged write is missing after kill -9")
        print(f"  frozen: writes held, {answered} of {len(cold)} other reads answered", flush=True)
    finally:
        disk.thaw()
        server.kill()


def missing():
    """Why this machine cannot run the test, or None."""
    if os.geteuid() != 0:
        return "not root"
    for tool in ("mount", "umount", "losetup", "fsfreeze"):
        if shutil.which(tool) is None:
            return f"no {tool}"
    if not any(shutil.which(command[0]) for command in MAKE.values()):
        return "neither mkfs.ext4 nor mkfs.xfs"
    with tempfile.TemporaryDirectory() as probe:
        kind = next(k for k, command in MAKE.items() if shutil.which(command[0]))
        disk = None
        try:
            disk = Disk(kind, probe)
            disk.mount()
        except (RuntimeError, OSError) as e:
            return f"no loop mount: {e}"
        finally:
            if disk is not None:
                disk.remove()
    return None


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="ringstone", metavar="NAME[=COMMAND]")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--policies", default="always,everysec")
    parser.add_argument("--file-systems", default="ext4,xfs")
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--window", type=float, default=2.0,
                        help="what everysec may lose at most, in seconds")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--plant", metavar="CLAIMED=REAL",
                        help="run the server under REAL and hold it to CLAIMED; must be caught")
    parser.add_argument("--reads-may-block", action="store_true",
                        help="a server whose loop waits for its disk (redis-server)")
    parser.add_argument("--methods", default="append,segment",
                        help="aof-commit-method, one round each in turn")
    parser.add_argument("--no-rewrites", dest="rewrites", action="store_false",
                        help="the log is not rewritten meanwhile")
    parser.add_argument("--only", choices=("cut", "frozen", "turned"))
    parser.add_argument("--work", default=None)
    parser.add_argument("--no-build", action="store_true")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    if args.server == "redis":
        args.reads_may_block = True
        args.methods, args.rewrites = "", False
    return args


def campaign(kind, policy, claimed, template, args, seed):
    """All rounds of one policy on one file system; true if a promise was broken."""
    rng = random.Random(f"{seed}-{kind}-{policy}")
    disk = Disk(kind, args.work)
    before, ages = None, []
    try:
        disk.mount()
        for number in range(1, args.rounds + 1):
            before, lost = one_cut(disk, template, policy, claimed, number, args, rng, before)
            ages.append(lost)
        late = sum(age > 1.0 for age in ages)
        print(f"{kind} {policy}: {args.rounds} power cuts held; oldest loss {max(ages):.3f} s; "
              f"{late} round(s) lost more than the last second", flush=True)
        if policy == "always" and args.only != "cut" and not args.plant:
            frozen(disk, template, args)
        return False
    except Broken as e:
        print(f"{kind} {policy}: BROKEN: {e}", flush=True)
        return True
    finally:
        disk.remove()


def begin(args, what):
    """The server's command line and the seed. Ends the process where there is nothing to try."""
    reason = missing()
    if reason is not None:
        print(f"{what} cannot be tested here: {reason}", file=sys.stderr)
        sys.exit(3)
    if args.check:
        sys.exit(0)
    template = next(iter(harness.parse_servers([args.server]).values()))
    if not args.no_build:
        harness.build()
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}, {template}", flush=True)
    return template, seed


def main():
    args = parse_args()
    template, seed = begin(args, "power cuts")
    claimed, _, real = (args.plant or "").partition("=")
    pairs = [(real, claimed)] if args.plant else [(p, p) for p in args.policies.split(",")]
    broken = False
    for kind in args.file_systems.split(","):
        if shutil.which(MAKE[kind][0]) is None:
            print(f"{kind}: NOT tested, no {MAKE[kind][0]}", flush=True)
            continue
        for policy, held_to in pairs:
            if args.only == "frozen":
                disk = Disk(kind, args.work)
                try:
                    disk.mount()
                    frozen(disk, template, args)
                except Broken as e:
                    print(f"{kind} frozen: BROKEN: {e}", flush=True)
                    broken = True
                finally:
                    disk.remove()
                break
            if args.only != "turned":
                broken |= campaign(kind, policy, held_to, template, args, seed)
            if args.methods and args.only in (None, "turned") and not args.plant:
                broken |= turned(kind, policy, template, args, seed)
    if args.plant:
        print("the planted fault was caught" if broken else "the planted fault was NOT caught")
        return 0 if broken else 1
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
