#!/usr/bin/env python3
"""An hour's soak on real input, with kill -9 every few minutes. See tests/soak/README.md.

    tests/soak/soak.py --minutes 60                a keyspace from redis-server, 2 shards, everysec
    tests/soak/soak.py --minutes 5 --kill-every 30 --policy always
    tests/soak/soak.py --minutes 1 --kill-every 15 --plant forget     must be caught (exit 0)

Exit code 0: everything held; 1: something differed, or the soak could not be carried through.
"""

import argparse
import contextlib
import ctypes
import importlib.util
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "perf"))
sys.dont_write_bytecode = True


def need_redis_py():
    """Starts over with a Python that has redis-py; tests/peer.sh installs one where it can."""
    if importlib.util.find_spec("redis") is not None:
        return
    venv = ROOT / "target/tmp/peer-python"
    venv.parent.mkdir(parents=True, exist_ok=True)
    python = venv / "bin/python3"
    if "RINGSTONE_SOAK_AGAIN" not in os.environ:
        subprocess.run(["sh", str(ROOT / "tests/peer.sh"), str(venv)], check=True)
        os.environ["RINGSTONE_SOAK_AGAIN"] = "yes"
        again = str(python) if python.exists() else sys.executable
        os.execv(again, [again, *sys.argv])
    raise SystemExit("redis-py is missing and tests/peer.sh could not install it")


if __name__ == "__main__":
    need_redis_py()

import harness  # noqa: E402
import keyspace  # noqa: E402
import worker as load  # noqa: E402
from model import Differs  # noqa: E402

WORKERS = 4
COUNTERS = 100_000
GIB = 1 << 30
LEAST_FREE = 15 * GIB
PLANTS = ("import", "memory", "forget", "tail", "counter", "end")
READY_SECONDS = 1800.0
STOP_SECONDS = 120.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LIBC = ctypes.CDLL(None)


class Failed(Exception):
    """The soak could not be carried through."""


def die_with_parent():
    LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def low_port():
    """A free port below those the kernel gives to clients, so that it stays free over a restart."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as text:
        lowest = int(text.read().split()[0])
    while True:
        port = random.SystemRandom().randrange(max(2000, lowest - 15_000), max(2001, lowest))
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def size_of(directory):
    """Bytes of all files below a directory."""
    total = 0
    for home, _, files in os.walk(directory):
        for file in files:
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(os.path.join(home, file)).st_size
    return total


def gib(count):
    return f"{count / GIB:.2f}"


class Server:
    """One server that is started again and again with the same arguments."""

    def __init__(self, name, command, port, log):
        self.name, self.command, self.port, self.log = name, command, port, log
        self.process = None

    def spawn(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT, preexec_fn=die_with_parent)
        return self

    def wait_ready(self):
        """Seconds until PING is answered with PONG."""
        started = time.monotonic()
        while time.monotonic() < started + READY_SECONDS and self.process.poll() is None:
            with contextlib.suppress(OSError):
                asked = harness.Client(self.port, 10.0)
                pong = asked.call("PING")
                asked.close()
                if pong == b"PONG":
                    return time.monotonic() - started
            time.sleep(0.01)
        raise Differs(f"{self.name} did not come up: {' '.join(self.command)}\n{self.last()}")

    def start(self):
        return self.spawn().wait_ready()

    def last(self):
        with open(self.log, "rb") as log:
            return log.read()[-2000:].decode("utf-8", "replace")

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def stop(self):
        """SIGTERM; seconds until it has ended, cleanly."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise Differs(f"{self.name} had not stopped {STOP_SECONDS} s after SIGTERM") from None
        if code != 0:
            raise Differs(f"{self.name} ended with {code} after SIGTERM\n{self.last()}")
        return time.monotonic() - started


def redis_server(directory, log):
    port = low_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", directory,
               "--save", "", "--databases", str(keyspace.DATABASES), "--appendonly", "yes",
               "--appenddirname", "appendonlydir", "--appendfilename", "appendonly.aof",
               "--aof-use-rdb-preamble", "no", "--auto-aof-rewrite-percentage", "0"]
    return Server("redis-server", command, port, log)


class Benchmark(threading.Thread):
    """redis-benchmark over and over, while `gate` is open and the log within its budget."""

    PER_RUN = {1: 4000, 16: 16_000}
    TESTS = 4

    def __init__(self, port, seed, allowed):
        super().__init__(daemon=True)
        self.port, self.rng, self.allowed = port, random.Random(f"{seed}-benchmark"), allowed
        self.gate, self.idle, self.ending = threading.Event(), threading.Event(), False
        self.idle.set()
        self.process, self.fault = None, None
        self.runs, self.cut_short, self.requests = 0, 0, 0

    def run(self):
        try:
            while not self.ending:
                if not self.gate.wait(0.5):
                    continue
                if not self.allowed():
                    time.sleep(0.2)
                    continue
                self.idle.clear()
                if self.gate.is_set():
                    self.once()
                self.idle.set()
        except Exception as error:  # reported by the driver
            self.fault = self.fault or repr(error)
        finally:
            self.idle.set()

    def once(self):
        pipeline = self.rng.choice(list(self.PER_RUN))
        requests = self.PER_RUN[pipeline]
        self.process = subprocess.Popen(
            ["redis-benchmark", "-p", str(self.port), "-n", str(requests), "-c", "20", "-P",
             str(pipeline), "-r", str(COUNTERS), "-d", str(self.rng.choice((3, 32, 200))), "-q",
             "-t", "set,get,incr,mset"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, preexec_fn=die_with_parent)
        said = self.process.communicate()[0].decode("utf-8", "replace")
        if not self.gate.is_set() or self.ending:
            self.cut_short += 1
        elif self.process.returncode != 0 or "rror" in said:
            # The gate is closed right after a kill; give the driver that moment.
            time.sleep(1.0)
            if self.gate.is_set():
                self.fault = f"redis-benchmark: {said.strip()[-300:]}"
            self.cut_short += 1
        else:
            self.runs += 1
            self.requests += requests * self.TESTS

    def close(self):
        """After a kill of the server: no new run, and the running one ends."""
        self.gate.clear()
        if not self.idle.wait(5.0):
            self.end()
            self.idle.wait(10.0)

    def end(self):
        process = self.process
        if process is not None and process.poll() is None:
            process.kill()


class Crew:
    """The worker processes and the watcher, and the talk with them."""

    def __init__(self, args, port):
        context = multiprocessing.get_context("fork")
        makers = [
            (lambda n=n: load.Worker(n, args.seed, args.rate, args.shards)) for n in range(WORKERS)
        ] + [lambda: load.Watcher(args.seed, 50, COUNTERS)]
        self.pipes, self.processes = [], []
        self.counts, self.resolved = {}, {}
        for make in makers:
            ours, theirs = context.Pipe()
            process = context.Process(target=load.serve, args=(theirs, port, make), daemon=True)
            process.start()
            theirs.close()
            self.pipes.append(ours)
            self.processes.append(process)

    def tell(self, *order):
        for pipe in self.pipes:
            pipe.send(order)

    def hear(self, seconds):
        """The messages that come within a time, as (who, message); what differs is raised."""
        heard = []
        for pipe in multiprocessing.connection.wait(self.pipes, seconds):
            who = self.pipes.index(pipe)
            try:
                message = pipe.recv()
            except EOFError:
                raise Failed(f"worker {who} died") from None
            if message[0] == "differs":
                raise Differs(f"worker {who}: {message[1]}")
            heard.append((who, message))
        return heard

    def gather(self, *kinds, seconds=900.0):
        """One message of these kinds from everybody."""
        got, end = {}, time.monotonic() + seconds
        while len(got) < len(self.pipes):
            for who, message in self.hear(1.0):
                if message[0] not in kinds:
                    raise Differs(f"worker {who} said {message} when {kinds} was due")
                got[who] = message
            if time.monotonic() > end:
                raise Failed(f"only workers {sorted(got)} answered")
        for who, message in got.items():
            if message[0] in ("lost", "paused"):
                self.counts[who] = message[1:3]
            elif message[0] == "held":
                self.resolved[who] = message[3]
        return got

    def end(self):
        for process in self.processes:
            if process.is_alive():
                process.kill()
                process.join()


class Soak:
    def __init__(self, args):
        self.args = args
        self.rng = random.Random(f"{args.seed}-driver")
        self.home = tempfile.mkdtemp(prefix="ringstone-soak-", dir=args.work)
        self.binary = os.path.join(self.home, "ringstone")
        shutil.copy2(args.binary, self.binary)  # a build meanwhile must not change what is tested
        port = low_port()
        self.data = os.path.join(self.home, "ringstone-data")
        os.mkdir(self.data)
        self.server = Server("ringstone", [
            self.binary, "--port", str(port), "--dir", self.data, "--bind", "127.0.0.1", "--save",
            "", "--databases", str(keyspace.DATABASES), "--shards", str(args.shards),
            "--appendonly", "no" if args.plant == "memory" else "yes", "--appendfsync",
            args.policy], port, os.path.join(self.home, "ringstone.log"))
        self.peer, self.crew, self.benchmark = None, None, None
        self.imported, self.facts, self.kills, self.samples = {}, {}, [], []
        self.load_started, self.load_seconds, self.log_start = None, 0.0, 0
        self.log_bytes, self.cut_short = 0, None

    # The import.

    def say(self, text):
        print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)

    def bring_in(self):
        """Fills a redis-server and imports its log; what it held is what we must hold."""
        home = os.path.join(self.home, "redis-source")
        os.mkdir(home)
        source = self.peer = redis_server(home, os.path.join(self.home, "redis-source.log"))
        source.start()
        commands = keyspace.fill(source.port, self.args.seed, self.args.keys, WORKERS)
        expected, _ = keyspace.take(source.port)
        source.stop()
        self.server.start()
        started = time.monotonic()
        size, said = keyspace.pipe_into(self.server.port, home)
        if "errors: 0" not in said:
            raise Differs(f"redis-cli --pipe: {said}")
        seconds = time.monotonic() - started
        if self.args.plant == "import":
            self.plant_in(self.rng.choice(list(expected)))
        got, until = keyspace.take(self.server.port)
        count = keyspace.compare("what was imported", expected, got, until)
        mine = [f"w{n}:".encode() for n in range(WORKERS)]
        self.imported = {p: v for p, v in expected.items() if not p[1].startswith(tuple(mine))}
        shutil.rmtree(home)
        self.facts["import"] = (
            f"{commands} commands made {len(expected)} keys in redis-server; its log of "
            f"{size / 1e6:.1f} MB went through `redis-cli --pipe` in {seconds:.1f} s ({said}); "
            f"{count} keys compared equal")
        self.say(self.facts["import"])

    def plant_in(self, place):
        """The planted fault: a key is removed behind everybody's back."""
        on = load.client(self.server.port, place[0])
        self.say(f"planted: DEL {place} -> {on.execute_command('DEL', place[1])}")
        on.close()

    # The load.

    def allowed(self):
        """Whether redis-benchmark may write more: the log grows by so many bytes a second."""
        if self.load_started is None:
            return False
        seconds = self.load_seconds + time.monotonic() - self.load_started
        return self.log_bytes < self.log_start + (20 << 20) + seconds * self.args.log_rate * 1e6

    def load_runs(self, runs):
        if runs:
            self.crew.tell("run")
            self.load_started = time.monotonic()
            self.benchmark.gate.set()
        elif self.load_started is not None:
            self.load_seconds += time.monotonic() - self.load_started
            self.load_started = None

    def look_around(self):
        """Sizes, now; stops the load when the disk is nearly full."""
        self.log_bytes = size_of(self.data)
        free = shutil.disk_usage(self.data).free
        if free < LEAST_FREE and self.cut_short is None:
            self.cut_short = (f"the load was stopped early: {gib(free)} GiB are free, "
                              f"{gib(LEAST_FREE)} are to stay free")
            self.say(self.cut_short)
        return free

    def keys_now(self):
        on = load.client(self.server.port)
        text = on.execute_command("INFO", "keyspace").decode()
        on.close()
        return {line.split(":")[0]: int(line.split("keys=")[1].split(",")[0])
                for line in text.splitlines() if "keys=" in line}

    def sample(self):
        free = self.look_around()
        keys = self.keys_now()
        self.samples.append((time.monotonic() - self.began, harness.rss_bytes(
            self.server.process.pid), self.log_bytes, free, sum(keys.values())))

    def watch(self, until):
        """Looks after a running load until a moment; whatever goes wrong is raised."""
        next_sample = 0.0
        while time.monotonic() < until and self.cut_short is None:
            for who, message in self.crew.hear(0.25):
                time.sleep(0.5)
                state = self.server.process.poll()
                raise Differs(f"worker {who} said {message}; the server "
                              f"{'is up' if state is None else f'ended by itself: {state}'}\n"
                              f"{self.server.last()}")
            if self.server.process.poll() is not None:
                raise Differs(f"the server ended by itself\n{self.server.last()}")
            if self.benchmark.fault is not None:
                raise Differs(self.benchmark.fault)
            if time.monotonic() >= next_sample:
                self.sample()
                next_sample = time.monotonic() + self.args.sample_every
            elif self.load_started is not None:
                self.log_bytes = size_of(self.data)

    def crash(self):
        """kill -9 under full load, a restart, and everybody looks whether all is there."""
        self.crew.tell("sprint")
        self.watch(time.monotonic() + self.rng.uniform(0.3, 2.0))
        before = self.keys_now()
        self.server.kill()
        self.load_runs(False)
        self.benchmark.close()
        self.crew.gather("lost")
        free, again = self.look_around(), None
        if self.args.plant == "tail":
            self.plant_tail()
        if self.kills and self.rng.random() < 0.4:
            # A crash while recovering from a crash must not lose anything either.
            again = self.rng.uniform(0.1, 0.8) * self.kills[-1]["recovery"]
            self.server.spawn()
            time.sleep(again)
            self.server.kill()
        recovery = self.server.start()
        self.plant()
        after = self.keys_now()
        started = time.monotonic()
        self.crew.tell("verify", self.server.port)
        wrong, held = [], {}
        for look in (self.look_at_import, lambda: held.update(self.crew.gather("held"))):
            try:
                look()
            except Differs as differs:
                wrong.append(str(differs))
        if wrong:
            raise Differs("\n".join(wrong))
        self.kills.append({
            "at": time.monotonic() - self.began, "log": self.log_bytes, "recovery": recovery,
            "again": again, "free": free, "before": before, "after": after,
            "rss": harness.rss_bytes(self.server.process.pid),
            "held": sum(message[1] for message in held.values()),
            "verified": time.monotonic() - started})
        self.say(f"kill {len(self.kills)}: log {gib(self.log_bytes)} GiB, up after "
                 f"{recovery:.2f} s"
                 + ("" if again is None else f" (killed once more {again:.2f} s into recovery)")
                 + f", {self.kills[-1]['held']} places held to, {sum(after.values())} keys")

    def look_at_import(self):
        places = self.rng.sample(sorted(self.imported), min(5000, len(self.imported)))
        keyspace.compare_some(self.server.port, "of the import", self.imported, places)

    def plant_tail(self):
        """The planted fault: the last bytes that reached one shard's log are gone.

        The server refuses such a log, since other bytes tell that these were written; so it is
        mended to what can be saved, and the workers have to find what is missing.
        """
        path = max(keyspace.log_files(self.data)[-self.args.shards:], key=os.path.getsize)
        size = os.path.getsize(path)
        os.truncate(path, size - min(size, 5000))
        self.say(f"planted: the last {min(size, 5000)} bytes of {os.path.basename(path)} removed")
        mended = self.check_aof("--fix")
        self.say(f"check-aof --fix: {mended.returncode}")

    def plant(self):
        on = load.client(self.server.port)
        if self.args.plant == "forget":
            _, some = on.execute_command("SCAN", "0", "MATCH", "w*:k*", "COUNT", 10_000_000)
            self.plant_in((0, self.rng.choice(sorted(some))))
        elif self.args.plant == "counter":
            pipe = on.pipeline(transaction=False)
            for n in range(COUNTERS):
                pipe.execute_command("DEL", b"counter:%012d" % n)
            self.say(f"planted: {sum(pipe.execute())} counters removed")
        on.close()

    def run_load(self):
        self.began = time.monotonic()
        self.log_start = self.log_bytes = size_of(self.data)
        self.crew = Crew(self.args, self.server.port)
        self.benchmark = Benchmark(self.server.port, self.args.seed, self.allowed)
        self.benchmark.start()
        self.crew.tell("adopt", self.server.port)
        self.crew.gather("held")
        end = self.began + self.args.minutes * 60
        self.load_runs(True)
        while self.cut_short is None and time.monotonic() < end:
            pause = self.args.kill_every * self.rng.uniform(0.7, 1.3)
            last = time.monotonic() + pause > end
            self.watch(min(end, time.monotonic() + pause))
            if not last and self.cut_short is None:
                self.crash()
                self.load_runs(True)
        self.load_runs(False)
        self.benchmark.ending = True
        self.benchmark.close()
        self.crew.tell("pause")
        self.crew.gather("paused")
        if not self.kills:
            raise Failed("the time was too short for a single kill")

    # The end.

    def hand_over(self):
        """A clean stop; then we and redis-server load the same directory and must hold the same."""
        self.crew.tell("verify", self.server.port)
        self.crew.gather("held")
        self.look_around()
        stopped = self.server.stop()
        checked = self.check_aof()
        if checked.returncode != 0:
            raise Differs(f"check-aof: {checked.stdout}{checked.stderr}")
        size, free = size_of(self.data), shutil.disk_usage(self.home).free
        if size + 2 * GIB > free:
            raise Failed(f"no room to copy a log of {gib(size)} GiB: {gib(free)} GiB are free")
        copy = os.path.join(self.home, "redis-copy")
        subprocess.run(["cp", "-a", "--reflink=auto", self.data, copy], check=True)
        recovery = self.server.start()
        ours, until = keyspace.take(self.server.port)
        keyspace.wait_for_sizes(self.server.port, ours, "ringstone at the end")
        keyspace.compare("the import at the end", self.imported,
                         {p: v for p, v in ours.items() if p in self.imported}, until)
        self.no_strangers(ours)
        self.hold_to(self.server.port, "ringstone")
        self.server.stop()
        peer = self.peer = redis_server(copy, os.path.join(self.home, "redis-copy.log"))
        loaded = peer.start()
        if self.args.plant == "end":
            on = load.client(peer.port)
            key = on.execute_command("RANDOMKEY")
            self.say(f"planted: APPEND {key} ! -> {on.execute_command('APPEND', key, '!')}")
            on.close()
        theirs, until = keyspace.take(peer.port)
        count = keyspace.compare("what redis-server loads", ours, theirs, until)
        keyspace.wait_for_sizes(peer.port, theirs, "redis-server at the end")
        self.hold_to(peer.port, "redis-server")
        rss = harness.rss_bytes(peer.process.pid)
        peer.stop()
        self.facts["end"] = (
            f"Stopped by SIGTERM in {stopped:.2f} s; `check-aof` has nothing to say; restarted in "
            f"{recovery:.2f} s. Stock redis-server loads the same {gib(size)} GiB in {loaded:.1f} "
            f"s ({gib(rss)} GiB resident): {count} keys of all databases compared equal (value, "
            f"type, expiry, DBSIZE), the workers' models hold in both.")
        self.say(self.facts["end"])

    def no_strangers(self, held):
        """Every key is the import's, a worker's or redis-benchmark's."""
        known = set(self.imported)
        for number in range(WORKERS):
            known.update(load.places_of(number))
        strange = [(db, key) for db, key in held if (db, key) not in known and not (
            db == 0 and key.startswith((b"key:", b"counter:")))]
        if strange:
            raise Differs(f"{len(strange)} keys that nobody made: {strange[:10]}")

    def check_aof(self, *options):
        manifest = os.path.join(self.data, "appendonlydir/appendonly.aof.manifest")
        return subprocess.run([self.binary, "check-aof", *options, manifest],
                              input="y\n", capture_output=True, text=True)

    def hold_to(self, port, what):
        try:
            self.crew.tell("verify", port)
            self.crew.gather("held")
        except Differs as differs:
            raise Differs(f"the workers' keys in {what} at the end: {differs}") from None

    def run(self):
        self.bring_in()
        self.run_load()
        self.hand_over()

    def end(self):
        """Ends whatever was started, by its process id."""
        if self.benchmark is not None:
            self.benchmark.ending = True
            self.benchmark.gate.clear()
            self.benchmark.end()
        if self.crew is not None:
            self.crew.end()
        for server in (self.server, self.peer):
            if server is not None:
                server.kill()

    # The report.

    def report(self, outcome):
        args, kills = self.args, self.kills
        facts = harness.machine_facts()
        command = " ".join(self.server.command).replace(self.home, "…")
        lines = [
            f"# Soak of {args.minutes:g} minutes: {outcome.splitlines()[0]}", "",
            harness.facts_markdown(facts),
            f"- `{command}`", f"- seed {args.seed}, {WORKERS} redis-py workers at {args.rate}/s "
            f"(flat out before each kill), redis-benchmark held to a log of {args.log_rate:g} MB/s",
            ""]
        if "import" in self.facts:
            lines += [f"Import: {self.facts['import']}.", ""]
        if self.crew is not None and self.crew.counts:
            units = sum(c[0] for c in self.crew.counts.values())
            commands = sum(c[1] for c in self.crew.counts.values())
            told = [r for r in self.crew.resolved.values() if r]
            there = sum(r.get("there", 0) for r in told)
            gone = sum(r.get("gone or without effect", 0) for r in told)
            lines += [
                f"Load: {commands} commands in {units} units by the workers and the watcher, each "
                f"reply checked; {self.benchmark.requests} requests in {self.benchmark.runs} runs "
                f"of redis-benchmark ({self.benchmark.cut_short} cut short). {len(kills)} kills; "
                f"what was in flight at a kill was there {there} times, and {gone} times gone or "
                "without effect.", ""]
        if kills:
            times = sorted(kill["recovery"] for kill in kills)
            lines += [
                f"Recovery: median {times[len(times) // 2]:.2f} s, longest {times[-1]:.2f} s.", "",
                "| kill | at, s | log, GiB | up after, s | killed again after, s | RSS then, MiB | "
                "keys before | keys after | places held to | in s |",
                "|---|---|---|---|---|---|---|---|---|---|"]
        for number, kill in enumerate(kills, 1):
            again = "" if kill["again"] is None else f"{kill['again']:.2f}"
            lines.append(
                f"| {number} | {kill['at']:.0f} | {gib(kill['log'])} | {kill['recovery']:.2f} | "
                f"{again} | {kill['rss'] >> 20} | {sum(kill['before'].values())} | "
                f"{sum(kill['after'].values())} | {kill['held']} | {kill['verified']:.1f} |")
        if kills:
            last = ", ".join(f"{db} {count}" for db, count in kills[-1]["after"].items())
            lines += ["", f"Keys by database after the last kill: {last}."]
        if self.samples:
            step = max(1, len(self.samples) // 24)
            lines += ["", "| at, s | RSS, MiB | log, GiB | free on the disk, GiB | keys |",
                      "|---|---|---|---|---|"]
            lines += [f"| {at:.0f} | {rss >> 20} | {gib(log)} | {gib(free)} | {keys} |"
                      for at, rss, log, free, keys in self.samples[::step]]
        if "end" in self.facts:
            lines += ["", self.facts["end"]]
        if self.cut_short is not None:
            lines += ["", self.cut_short]
        if outcome != "everything held":
            lines += ["", "```", outcome, "```"]
        return "\n".join(lines) + "\n"


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--no-build", action="store_true")
    parser.add_argument("--binary", default=None, help="the server; implies --no-build")
    parser.add_argument("--kill-every", type=float, default=180.0, metavar="SECONDS",
                        help="about; give or take 30 %%")
    parser.add_argument("--keys", type=int, default=200_000)
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--policy", choices=("everysec", "always", "no"), default="everysec")
    parser.add_argument("--rate", type=float, default=150.0, help="units per second and worker")
    parser.add_argument("--log-rate", type=float, default=4.0,
                        help="MB/s of log above which redis-benchmark waits")
    parser.add_argument("--sample-every", type=float, default=10.0, metavar="SECONDS")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--record", default=None, metavar="DIR", help="for the report")
    parser.add_argument("--work", default=None, metavar="DIR", help="for the data")
    parser.add_argument("--plant", choices=PLANTS, help="a fault; it must be caught")
    args = parser.parse_args()
    if args.binary is None:
        args.binary = str(ROOT / "target/release/ringstone")
        if not args.no_build:
            harness.build()
    if args.seed is None:
        args.seed = random.SystemRandom().randrange(1 << 32)
    return args


def interrupted(number, _frame):
    for each in SIGNALS:  # once is enough; what follows is the tidying up
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt(signal.Signals(number).name)


def main():
    args = parse_args()
    for number in SIGNALS:
        signal.signal(number, interrupted)
    soak = Soak(args)
    soak.say(f"seed {args.seed}, in {soak.home}")
    outcome, differed = "everything held", False
    try:
        soak.run()
        if soak.cut_short is not None:
            outcome = "cut short for want of disk space; what was done held"
    except Differs as differs:
        outcome, differed = f"DIFFERS: {differs}", True
    except Failed as failed:
        outcome = f"could not be carried through: {failed}"
    except Exception:  # a connection of the driver's own, say; the report is worth having
        outcome = f"could not be carried through\n{traceback.format_exc()}{soak.server.last()}"
    except KeyboardInterrupt as how:
        outcome = f"interrupted by {how or 'SIGINT'}"
    finally:
        soak.end()
    report = soak.report(outcome)
    print(report, flush=True)
    if args.record is not None:
        record = pathlib.Path(args.record)
        record.mkdir(parents=True, exist_ok=True)
        (record / "soak.md").write_text(report)
    if args.plant is not None:
        print("the planted fault was caught" if differed else "the planted fault was NOT caught")
        shutil.rmtree(soak.home, ignore_errors=differed)
        return 0 if differed else 1
    if outcome == "everything held":
        shutil.rmtree(soak.home, ignore_errors=True)
        return 0
    print(f"what is there is kept in {soak.home}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
