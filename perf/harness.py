"""What the measuring scripts share: servers, the load generator, clocks, facts about the machine.

Python's standard library only. Every server is started fresh, in an empty directory of its own, on
a free port of the loopback, and only processes started here are ever signalled.
"""

import contextlib
import datetime
import json
import mmap
import os
import pathlib
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent

COMMON = (
    "--port {port} --dir {dir} --bind 127.0.0.1 --save '' --databases 16 --maxclients {maxclients}"
    " --appendonly {appendonly} --appendfsync {appendfsync} --auto-aof-rewrite-percentage 0"
)
SERVERS = {
    "redis": "redis-server " + COMMON,
    "ringstone": str(ROOT / "target/release/ringstone") + " --shards {shards} " + COMMON,
    # Keeps nothing, see perf/least.rs.
    "least": str(ROOT / "target/release/examples/least") + " --depth 4 --share 25 --awake yes " + COMMON,
}
POLICIES = ("off", "everysec", "always", "no")


def parse_servers(given):
    """The servers to run: `--server name` of a known one or `--server name=command template`."""
    servers = {}
    for text in given:
        name, equals, command = text.partition("=")
        if equals:
            servers[name] = command
        elif name in SERVERS:
            servers[name] = SERVERS[name]
        else:
            raise SystemExit(f"--server {name}: give its command as {name}=COMMAND")
    return servers


def free_port():
    """A TCP port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cpu_ns(pid):
    """CPU time of a whole process in nanoseconds.

    This is the kernel's clock of the thread group (clock_getcpuclockid(3)): user and system time of
    every thread, of those that have ended too. io_uring's kernel workers (`iou-wrk-…`) are created
    as threads of the process and are in it.
    """
    return time.clock_gettime_ns((~pid << 3) | 2)


def cpu_by_thread(pid):
    """Seconds of CPU per thread name, from /proc/PID/task/*/schedstat, kernel workers included."""
    seconds = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            name = (task / "comm").read_text().strip().rstrip("0123456789")
            spent = int((task / "schedstat").read_text().split()[0]) / 1e9
        except (FileNotFoundError, ProcessLookupError):
            continue
        seconds[name] = seconds.get(name, 0.0) + spent
    return seconds


def rss_bytes(pid):
    """Resident memory of a process in bytes."""
    pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def machine_ticks():
    """(busy, stolen) clock ticks of the whole machine since boot."""
    fields = [int(x) for x in pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq, stolen = fields[:8]
    return user + nice + system + irq + softirq, stolen


class Client:
    """A blocking RESP2 client, enough for set-up and checks. Errors come back as `RespError`."""

    def __init__(self, port, timeout=60.0):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def send(self, *words):
        self.socket.sendall(encode(*words))

    def receive(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("closed by the server")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest
        if kind == b"-":
            return RespError(rest.decode("utf-8", "replace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            if rest == b"-1":
                return None
            data = self.file.read(int(rest) + 2)
            if len(data) != int(rest) + 2:
                raise ConnectionError("closed by the server")
            return data[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self.receive() for _ in range(int(rest))]
        raise ValueError(f"not RESP2: {line!r}")

    def call(self, *words):
        self.send(*words)
        return self.receive()

    def close(self):
        self.file.close()
        self.socket.close()


class RespError(str):
    """An error reply."""


def encode(*words):
    """A request as RESP."""
    out = [b"*%d\r\n" % len(words)]
    for word in words:
        word = word if isinstance(word, bytes) else str(word).encode()
        out.append(b"$%d\r\n%s\r\n" % (len(word), word))
    return b"".join(out)


def info(port):
    """INFO as a dictionary of strings."""
    client = Client(port)
    text = client.call("INFO").decode()
    client.close()
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


class Server:
    """One server process in a directory of its own."""

    def __init__(self, template, policy="off", core=None, shards=1, work=None, directory=None,
                 maxclients=10000):
        self.own = directory is None
        self.directory = directory or tempfile.mkdtemp(prefix="ringstone-perf-", dir=work)
        self.port = free_port()
        self.command = template.format(
            port=self.port, dir=self.directory, shards=shards, maxclients=maxclients,
            appendonly="no" if policy == "off" else "yes",
            appendfsync="everysec" if policy == "off" else policy,
        )
        self.log = open(os.path.join(self.directory, "server.log"), "ab")

        def prepare():
            if core is not None:
                os.sched_setaffinity(0, core if isinstance(core, set) else {core})

        self.process = subprocess.Popen(
            shlex.split(self.command), stdin=subprocess.DEVNULL, stdout=self.log,
            stderr=subprocess.STDOUT, preexec_fn=prepare,
        )
        self.pid = self.process.pid

    def wait_ready(self, seconds=60.0):
        """Returns once PING is answered with PONG; raises with the server's last words if never."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            try:
                client = Client(self.port)
                pong = client.call("PING")
                client.close()
                if pong == b"PONG":
                    return self
            except OSError:
                pass
            time.sleep(0.02)
        raise RuntimeError(f"{self.command}\ndid not come up:\n{self.last_words()}")

    def last_words(self):
        with open(self.log.name, "rb") as log:
            return log.read()[-3000:].decode("utf-8", "replace")

    def kill(self):
        """kill -9, and waits until the process is gone."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.log.close()

    def remove(self):
        self.kill()
        if self.own:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        try:
            return self.wait_ready()
        except BaseException:
            self.remove()
            raise

    def __exit__(self, *_):
        self.remove()


def verdict(value, bar, more=False):
    """A figure beside what was asked for."""
    if bar is None:
        return f"{value:.2f}"
    good = value >= bar if more else value <= bar
    return f"{value:.2f} ({'≥' if more else '≤'} {bar:.2f}: {'yes' if good else 'NO'})"


def paired(upper, lower):
    """The median of the rounds' own ratios."""
    return statistics.median(a / b for a, b in zip(upper, lower))


def wait_serving(server, seconds=600.0):
    """Returns at the first PONG; looks each 5 ms."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.process.poll() is None:
        with contextlib.suppress(OSError):
            client = Client(server.port)
            pong = client.call("PING")
            client.close()
            if pong == b"PONG":
                return
        time.sleep(0.005)
    raise RuntimeError(f"{server.command}\ndid not come up:\n{server.last_words()}")


def build():
    """Builds the server, the load generator, `gap` and `least` with the release profile."""
    subprocess.run(["cargo", "build", "--release", "--bins", "--example", "load",
                    "--example", "gap", "--example", "least"], cwd=ROOT, check=True)


def slowest_us(port):
    """The slowest call of each command, by the server's own histogram: its 100th percentile."""
    client = Client(port, timeout=600.0)
    client.call("CONFIG", "SET", "latency-tracking-info-percentiles", "50 99.999 100")
    text = client.call("INFO", "latencystats").decode()
    client.close()
    found = {}
    for line in text.splitlines():
        name, _, fields = line.partition(":")
        if name.startswith("latency_percentiles_usec_"):
            figures = dict(field.split("=") for field in fields.split(","))
            found[name.removeprefix("latency_percentiles_usec_")] = float(figures["p100"])
    return found


def have_memory(mebibytes):
    """Takes so much memory in pages and as much again in huge pages, and gives it back to the
    kernel. A hypervisor that takes back what its guest has left free supplies it anew page by page,
    at the first touch: seconds per gigabyte, of which the guest knows nothing, and which whoever
    grows next would pay. Both, since what was free in huge pieces already is found first by who
    asks for such. Free memory is there for about two seconds behind this."""
    populate_write = 23  # MADV_POPULATE_WRITE; not in the module
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    huge = mmap.mmap(-1, mebibytes << 20, flags=flags)
    huge.madvise(mmap.MADV_HUGEPAGE)
    huge.madvise(populate_write)
    mmap.mmap(-1, mebibytes << 20, flags=flags | mmap.MAP_POPULATE).close()
    huge.close()


def machine_gap_us(seconds, mebibytes, core, beside=None):
    """The longest time this machine held up a loop that only grows; see `perf/gap.rs`. The core
    `beside` is kept busy meanwhile, as a client keeps it."""
    def gap(mebibytes, core):
        command = [str(ROOT / "target/release/examples/gap"), str(seconds), str(mebibytes)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True,
                                preexec_fn=lambda: os.sched_setaffinity(0, {core}))

    others = [] if beside is None else [gap(1, beside)]
    own = gap(mebibytes, core)
    output, _ = own.communicate()
    for other in others:
        other.communicate()
    failed = [process.returncode for process in [own, *others] if process.returncode != 0]
    if failed:
        raise RuntimeError(f"gap.rs ends with {failed}")
    return int(output)


class Load:
    """One run of the load generator; see `perf/load.rs` for the dialogue."""

    def __init__(self, port, core=None, **options):
        command = [str(ROOT / "target/release/examples/load"), "--port", str(port)]
        for name, value in options.items():
            command += ["--" + name.replace("_", "-"), str(value)]
        prepare = (lambda: os.sched_setaffinity(0, {core})) if core is not None else None
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, preexec_fn=prepare,
        )

    def line(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(self.process.stderr.read().strip() or "load generator died")
        return line

    def mark(self):
        """With `marks="yes"`: the figures since the start or the last mark; counting begins anew."""
        self.process.stdin.write("mark\n")
        self.process.stdin.flush()
        return json.loads(self.line())

    def stop(self):
        """With `marks="yes"`: ends the timed part."""
        self.process.stdin.write("stop\n")
        self.process.stdin.flush()

    def go(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def result(self):
        """The figures of the timed part with the generator's own share of its core."""
        figures = json.loads(self.line())
        figures["client_cpu_ns"] = cpu_ns(self.process.pid)
        self.process.stdin.close()
        self.process.wait()
        return figures

    def run(self):
        self.line()
        self.go()
        return self.result()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def preload(port, keys, value_size=32, core=None):
    """Sets every key of `key:000000000000` … once, and checks the number."""
    Load(port, core, op="set", connections=4, pipeline=256, keyspace=keys, requests=keys,
         order="sequential", value_size=value_size).run()
    client = Client(port)
    size = client.call("DBSIZE")
    client.close()
    if size != keys:
        raise RuntimeError(f"preloaded {keys} keys, DBSIZE says {size}")


def text_of(*command):
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        return subprocess.run(command, check=True, capture_output=True, text=True,
                              cwd=ROOT).stdout.strip()
    return ""


def machine_facts():
    """What a reader of the results needs to know about where they were measured."""
    lscpu = dict(
        (k.strip(), v.strip())
        for k, _, v in (line.partition(":") for line in text_of("lscpu").splitlines())
    )
    wanted = ("Architecture", "Model name", "CPU(s)", "Thread(s) per core", "L2 cache", "L3 cache",
              "Hypervisor vendor", "NUMA node(s)")
    memory = pathlib.Path("/proc/meminfo").read_text().split()[1]
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ"),
        "git": text_of("git", "describe", "--always", "--dirty"),
        "uname": " ".join(os.uname()[i] for i in (0, 2, 3, 4)),
        "cpu": {k: lscpu[k] for k in wanted if k in lscpu},
        "memory_kib": int(memory),
        "rustc": text_of("rustc", "-vV").splitlines(),
        "redis": text_of("redis-server", "--version"),
        "load_average": os.getloadavg(),
    }


def results_directory(name):
    """perf/results/<date>-<git>-<name>, created."""
    facts = machine_facts()
    git = facts["git"] or "nogit"
    path = ROOT / "perf/results" / f"{facts['date'][:10]}-{git}-{name}"
    path.mkdir(parents=True, exist_ok=True)
    return path


def record_text(record):
    """A record as it is kept: what it ran is named as seen from the repository."""
    return json.dumps(record, indent=1).replace(f"{ROOT}/", "") + "\n"


def facts_markdown(facts):
    cpu = facts["cpu"]
    rustc = next(iter(facts["rustc"]), "")
    return (
        f"- {facts['date']}, git `{facts['git']}`\n"
        f"- {facts['uname']}; {cpu.get('Model name')}, {cpu.get('CPU(s)')} CPUs, "
        f"{facts['memory_kib'] // 1024} MiB; {cpu.get('Hypervisor vendor', 'no')} hypervisor\n"
        f"- {rustc}; {facts['redis']}\n"
        f"- load average at the end {', '.join(f'{x:.2f}' for x in facts['load_average'])}\n"
    )
