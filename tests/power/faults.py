#!/usr/bin/env python3
"""Disks that fail, on real file systems. See tests/power/README.md. Needs root.

    tests/power/faults.py                          each fault once, on ext4 and xfs
    tests/power/faults.py --rounds 5               the long form
    tests/power/faults.py --only full,thin         some of them
    tests/power/faults.py --check                  exit 3 if this machine cannot run it

Exit code 0: everything held; 1: a promise was broken; 3: cannot run here.
"""

import argparse
import contextlib
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.dont_write_bytecode = True
import power_cut  # noqa: E402
from power_cut import MAKE, Broken, Disk, RespError, Writer, fetch, harness, run  # noqa: E402
from harness import Client, Server  # noqa: E402

WRITERS = power_cut.WRITERS
MAKE = {**MAKE, "btrfs": ["mkfs.btrfs", "-q", "-f"]}
FULL = "MISCONF Errors writing to the AOF file: No space left on device"
QUOTA = "MISCONF Errors writing to the AOF file: Disk quota exceeded"
NO_WRITES = "MISCONF Errors writing to the AOF file: "
# So many that they lie in many segments of the table: a reply is held per segment.
COLD = [f"cold:{i}" for i in range(60_000)]


class SmallDisk(Disk):
    """A file system that is soon full, perhaps on a device that has less room than it says."""

    def __init__(self, kind, work, thin=False, options="", megabytes=None, quota=None):
        self.home = tempfile.mkdtemp(prefix=f"ringstone-faults-{kind}-", dir=work)
        self.store = os.path.join(self.home, "store")
        self.path = os.path.join(self.home, "mnt")
        os.mkdir(self.path)
        os.mkdir(self.store)
        self.thin, self.options, self.quota = thin, options, quota
        self.mounted = self.frozen = False
        if thin:
            run("mount", "-t", "tmpfs", "-o", "size=400m", "none", self.store)
        self.image = os.path.join(self.store, "image")
        # xfs takes no less than 300 MB.
        size = (megabytes or (112 if kind == "ext4" else 320)) << 20
        with open(self.image, "wb") as image:
            image.truncate(size)
        run(*MAKE[kind], self.image)

    def mount(self):
        run("mount", "-o", "loop" + (f",{self.options}" if self.options else ""), self.image,
            self.path)
        self.mounted = True
        data = os.path.join(self.path, "data")
        if self.quota and not os.path.exists(data):
            run("btrfs", "quota", "enable", self.path)
            run("btrfs", "subvolume", "create", data)
            run("btrfs", "qgroup", "limit", self.quota, data)

    def settle_metadata(self):
        """Every block of the file system's own gets its room; files' blocks have none."""
        fill(self.path, 0)
        os.sync()
        os.unlink(os.path.join(self.path, "ballast"))
        os.sync()
        run("fstrim", self.path)

    def repair(self):
        """Mounted again, behind its own check."""
        self.unmount()
        subprocess.run(["fsck.ext4", "-fy", self.image], capture_output=True, check=False)
        self.mount()

    def remove(self):
        self.thaw()
        self.unmount()
        if self.thin:
            run("umount", self.store)
        shutil.rmtree(self.home, ignore_errors=True)


def fill(path, leave):
    """Takes all room there but `leave` bytes; gives the file that does."""
    ballast = os.path.join(path, "ballast")
    handle = os.open(ballast, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        size = os.fstat(handle).st_size
        for step in (1 << 20, 1 << 12):
            while True:
                room = os.statvfs(path)
                if room.f_bfree * room.f_frsize - leave < step:
                    break
                try:
                    written = os.pwrite(handle, b"b" * step, size)
                except OSError:
                    break
                size += written
                if written < step:
                    break
    finally:
        os.close(handle)
    return ballast


class Trial:
    """One server on one disk, with its writers and what they were told."""

    def __init__(self, disk, template, policy, method, args, rng):
        self.disk, self.policy, self.args, self.rng = disk, policy, args, rng
        self.data = os.path.join(disk.path, "data")
        os.makedirs(self.data, exist_ok=True)
        # What the server says goes elsewhere: a full disk takes no log either.
        self.home = os.path.join(disk.home, "said")
        os.makedirs(self.home, exist_ok=True)
        self.template = (f"{template} --dir {self.data} --aof-commit-method {method} --save ''"
                         " --enable-debug-command yes")
        self.told = []
        self.server = None
        self.start()
        client = Client(self.server.port)
        for at in range(0, len(COLD), 1000):
            part = COLD[at:at + 1000]
            client.socket.sendall(b"".join(harness.encode("SET", key, "there") for key in part))
            if any(client.receive() != b"OK" for _ in part):
                raise Broken("the first keys were not taken")
        client.close()
        if policy == "everysec":
            time.sleep(1.5)

    def start(self):
        self.server = Server(self.template, self.policy, shards=self.args.shards,
                             directory=self.home)
        self.server.wait_ready()

    def load(self, seconds, until=None):
        """Writers for a while, or until this holds; what they were told is kept."""
        number = len(self.told)
        writers = [Writer(f"r{number}", i, self.server.port, self.rng.random())
                   for i in range(WRITERS)]
        self.told.append(writers)
        for writer in writers:
            writer.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end and not (until and until(writers)):
            time.sleep(0.01)
        for writer in writers:
            writer.stop.set()
        return writers

    def ended(self):
        return self.server.process.poll() is not None

    def reads(self, some=False):
        """Keys that nobody writes to are read while nothing can be written: all, or, where it can't
        be told what waits for the disk and some hundred writes do, those whose segments it has not.
        """
        if self.ended():
            raise Broken(f"the server ended:\n{self.server.last_words()}")
        clients = [Client(self.server.port) for _ in range(20)]
        keys = self.rng.sample(COLD, len(clients))
        for client, key in zip(clients, keys):
            client.send("GET", key)
        got = [power_cut.wait_reply(client, 2.0) for client in clients]
        for client in clients:
            client.close()
        if sum(value == b"there" for value in got) < len(clients) // (5 if some else 1):
            raise Broken(f"reads were not served: {got}")

    def refused(self, wanted, seconds=10.0):
        """A write is refused with this text, in time."""
        client, end, reply = Client(self.server.port), time.monotonic() + seconds, None
        client.socket.settimeout(seconds)
        while time.monotonic() < end:
            reply = client.call("SET", "asked", "now" * 1000)
            if isinstance(reply, RespError) and str(reply).startswith(wanted):
                client.close()
                return
            if wanted in (FULL, QUOTA):
                # Room that the file system had put by for files that grow.
                fill(self.data, 0)
        raise Broken(f"a write was answered {reply!r}, not {wanted}")

    def resumes(self, seconds=15.0):
        """Writes are taken again, by themselves."""
        client, end, reply = Client(self.server.port), time.monotonic() + seconds, None
        client.socket.settimeout(seconds)
        while time.monotonic() < end:
            reply = client.call("SET", "resumed", "now")
            if reply == b"OK":
                client.close()
                return
            time.sleep(0.05)
        raise Broken(f"writes are not taken again: {reply!r}\n{self.server.last_words()}")

    def kill(self):
        self.server.kill()
        for writers in self.told:
            for writer in writers:
                writer.stop.set()
                writer.join(10)

    def stop(self):
        self.server.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.server.process.wait(30)
        if self.server.process.returncode != 0:
            raise Broken(f"the stop failed:\n{self.server.last_words()}")
        self.server.kill()

    def verify(self, lost_seconds=0.0):
        """Everything acknowledged is there, or all but the last moments' of each load."""
        client = Client(self.server.port)
        policy = "always" if lost_seconds == 0.0 else "everysec"
        never = float("inf"), float("inf")
        acked = 0
        for writers in self.told:
            for writer in writers:
                writer.stop.set()
                writer.join(10)
            _, _, some = power_cut.verify(client, writers, policy, never, lost_seconds)
            acked += some
        if set(fetch(client, COLD)) != {b"there"}:
            raise Broken("keys written before any fault are missing")
        client.close()
        return acked

    def peer(self):
        """redis-server loads what a clean stop has left, and has the same."""
        redis = shutil.which("redis-server")
        if redis is None:
            return "no redis-server"
        for writer in (writer for told in self.told for writer in told):
            writer.stop.set()
            writer.join(10)
        client = Client(self.server.port)
        size, digest = client.call("DBSIZE"), client.call("DEBUG", "DIGEST")
        client.close()
        self.stop()
        copy = os.path.join(self.disk.home, "copy")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.data, copy)
        server = Server(f"{redis} --port {{port}} --dir {copy} --appendonly yes --save '' "
                        "--appenddirname appendonlydir --enable-debug-command yes",
                        "always", directory=self.home)
        try:
            server.wait_ready()
            other = Client(server.port)
            found = other.call("DBSIZE"), other.call("DEBUG", "DIGEST")
            if found != (size, digest):
                raise Broken(f"redis-server has {found}, not {(size, digest)}")
            other.close()
        except RuntimeError as error:
            raise Broken(f"redis-server refuses the directory: {error}") from error
        finally:
            server.kill()
            shutil.rmtree(copy, ignore_errors=True)
        self.start()
        return "redis-server has the same"

    def aftermath(self):
        """kill -9, and what is there; then the peer; then a restart once more."""
        self.kill()
        self.start()
        acked = self.verify()
        if acked == 0:
            raise Broken("nothing was acknowledged: the trial shows nothing")
        peer = self.peer()
        self.verify()
        return f"{acked} acknowledged, all there behind kill -9; {peer}"

    def held(self):
        """Started again behind the end of its disk: what was acknowledged is there, and it goes on."""
        self.verify(0.0 if self.policy == "always" else self.args.window)
        self.load(0.2)
        return self.peer()

    def said(self, text):
        """How often the server has said this."""
        with open(self.server.log.name, "rb") as log:
            return log.read().decode("utf-8", "replace").count(text)


def full(trial, text=FULL):
    """There is no room for a while, under load: then there is again, or the server is killed
    meanwhile, or stopped in good order, with what it has put by for that."""
    for ends in ("by itself", "killed", "stopped"):
        trial.load(0.1)
        ballast = fill(trial.data, 1 << 18)
        failures = trial.said("Error writing to the AOF file")
        given_up = trial.said("The room of the reserve is given up")
        trial.load(30.0, lambda _: trial.said("Error writing to the AOF file") > failures)
        trial.refused(text)
        trial.reads()
        if trial.said("The room of the reserve is given up") == given_up:
            raise Broken("the reserve was not given up")
        if ends == "by itself":
            os.unlink(ballast)
            trial.resumes()
        elif ends == "killed":
            trial.kill()
            os.unlink(ballast)
            trial.start()
        else:
            for writer in (writer for told in trial.told for writer in told):
                writer.stop.set()
            trial.stop()
            log = pathlib.Path(trial.data) / "appendonlydir"
            if " clean 1 " not in (log / "appendonly.aof.manifest").read_text():
                raise Broken("the stop on a full disk did not end the log")
            if (log / "appendonly.aof.reserve").exists():
                raise Broken("the stop left the reserve")
            os.unlink(ballast)
            trial.start()
        trial.load(0.1)
    return trial.aftermath()


def quota(trial):
    """The same where it is a quota that is used up."""
    return full(trial, QUOTA)


def immutable(trial):
    """What the log is written to may not be changed for a while (`chattr +i`): a file system that
    is read-only for files that are open, which Linux does not allow to be done in good order."""
    log = os.path.join(trial.data, "appendonlydir")
    for _ in range(2):
        trial.load(0.3)
        run("chattr", "-R", "+i", log)
        try:
            trial.load(1.0)
            trial.refused(NO_WRITES)
            trial.reads()
        finally:
            run("chattr", "-R", "-i", log)
        trial.resumes()
        trial.load(0.3)
    return trial.aftermath()


def shutdown(trial):
    """The file system is shut down for good: reads are served, no write is acknowledged."""
    trial.load(0.5)
    trial.disk.cut(power_cut.LOG_FLUSH)
    began = time.monotonic()
    writers = trial.load(1.0)
    trial.reads()
    trial.refused(NO_WRITES)
    for writer in writers:
        # Told later than a moment behind the shutdown: nothing could be made durable any more.
        late = [told for told in writer.acked if told and told[1] > began]
        if late and trial.policy == "always":
            raise Broken("a write was acknowledged behind the shutdown")
    # Nothing that was acknowledged behind it counts under a policy that flushes later.
    trial.told.pop()
    trial.kill()
    trial.disk.unmount()
    trial.disk.mount()
    trial.start()
    return trial.held()


def read_only(trial):
    """ext4 gives up its journal and goes read-only (errors=remount-ro)."""
    trial.load(0.5)
    run("mount", "-o", "remount,abort", trial.disk.path)
    began = time.monotonic()
    writers = trial.load(1.0)
    trial.reads()
    trial.refused(NO_WRITES)
    late = [t for w in writers for t in w.acked if t and t[1] > began + 0.1]
    if late and trial.policy == "always":
        raise Broken("a write was acknowledged on a file system that is read-only")
    trial.told.pop()
    trial.kill()
    trial.disk.repair()
    trial.start()
    return trial.held()


def frozen(trial):
    """Every flush hangs for a while: nothing is lost, all goes on by itself."""
    trial.load(0.3)
    trial.disk.freeze()
    stopped = time.monotonic()
    writers = trial.load(3.5)
    trial.reads(some=True)
    if trial.policy == "always":
        late = [t for w in writers for t in w.acked if t and t[1] > stopped]
        if late:
            raise Broken("a write was acknowledged while every flush hung")
    if harness.info(trial.server.port).get("aof_disk_slow") != "1":
        raise Broken("INFO does not tell that the disk is slow")
    trial.disk.thaw()
    trial.resumes()
    trial.load(0.3)
    if not trial.said("has not answered for two seconds"):
        raise Broken("the log does not tell that the disk was slow")
    return trial.aftermath()


def is_read_only(path):
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY) or not can_write(path)


def can_write(path):
    probe = os.path.join(path, "probe")
    try:
        with open(probe, "wb"):
            pass
        os.unlink(probe)
    except OSError:
        return False
    return True


class Toggle(threading.Thread):
    """Takes the room of a thin device away for moments, over and over."""

    def __init__(self, store, rng):
        super().__init__(daemon=True)
        self.store, self.rng, self.stop = store, rng, threading.Event()

    def run(self):
        while not self.stop.is_set():
            ballast = fill(self.store, 0)
            time.sleep(self.rng.uniform(0.0, 0.03))
            os.unlink(ballast)
            time.sleep(self.rng.uniform(0.1, 0.4))


def thin(trial):
    """A device with less room than it says: writes are taken, flushes fail, and work again."""
    stops = aborted = 0
    for _ in range(trial.args.thin_loads):
        toggle = Toggle(trial.disk.store, trial.rng)
        toggle.start()
        trial.load(2.0, lambda _: trial.ended())
        toggle.stop.set()
        toggle.join()
        if trial.ended() and trial.server.process.returncode != 1:
            raise Broken(f"ended with {trial.server.process.returncode}")
        if trial.ended():
            if trial.said("no more can be promised") <= stops:
                raise Broken(f"it ended and did not say why:\n{trial.server.last_words()}")
            stops += 1
        # Read-only: the room was missing for a block of the file system's own. The server may have
        # stopped over that, and have said so.
        gone = is_read_only(trial.disk.path)
        if gone and not trial.ended():
            trial.reads()
            trial.refused(NO_WRITES)
        elif not trial.ended():
            trial.resumes()
        trial.kill()
        if gone:
            aborted += 1
            trial.disk.repair()
        trial.start()
    broke, mended = trial.said("log goes on with it"), trial.said("looks solved")
    # `everysec` may lose what its failed flush had not made durable where the server stopped.
    whole = trial.policy == "always" or stops + aborted == 0
    window = 0.0 if whole else trial.args.window
    trial.verify(window)
    peer = trial.peer()
    return (f"{broke} flushes failed, {mended} logs mended, {stops} loud stops, "
            f"{aborted} file systems gone; {peer}")


def removed(trial):
    """The log's directory is removed under load."""
    trial.load(0.5)
    before = len(trial.told)
    shutil.rmtree(os.path.join(trial.data, "appendonlydir"))
    trial.load(1.0)
    trial.reads()
    trial.refused(NO_WRITES)
    del trial.told[before:]
    client = Client(trial.server.port)
    trial.verify()
    client.close()
    return "everything acknowledged is still in memory, writes are refused"


FAULTS = {
    "full": (full, {}, ("ext4", "xfs")),
    "quota": (quota, {"quota": "96M"}, ("btrfs",)),
    "immutable": (immutable, {}, ("ext4",)),
    "shutdown": (shutdown, {}, ("ext4", "xfs")),
    "read-only": (read_only, {"options": "errors=remount-ro"}, ("ext4",)),
    "frozen": (frozen, {}, ("ext4", "xfs")),
    "thin": (thin, {"thin": True}, ("ext4",)),
    "removed": (removed, {}, ("ext4",)),
}


def attempt(name, kind, policy, method, template, args, seed):
    """One fault under one policy and method; true if a promise was broken."""
    fault, options, _ = FAULTS[name]
    rng = random.Random(f"{seed}-{name}-{kind}-{policy}-{method}")
    disk = SmallDisk(kind, args.work, **options)
    trial = None
    label = f"{name} {kind} {policy} {method}"
    began = time.monotonic()
    try:
        disk.mount()
        if disk.thin:
            disk.settle_metadata()
        trial = Trial(disk, template, policy, method, args, rng)
        outcome = fault(trial)
        print(f"{label}: held in {time.monotonic() - began:.1f} s; {outcome}", flush=True)
        return False
    except (Broken, RuntimeError, OSError) as error:
        print(f"{label}: BROKEN: {error!r}", flush=True)
        if trial is not None and trial.server is not None:
            print(trial.server.last_words()[-2000:], flush=True)
        return True
    finally:
        disk.thaw()
        if trial is not None and trial.server is not None:
            trial.server.kill()
        disk.remove()


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="ringstone", metavar="NAME[=COMMAND]")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", default=",".join(FAULTS))
    parser.add_argument("--policies", default=None, help="default: always, and everysec for some")
    parser.add_argument("--methods", default="append,segment")
    parser.add_argument("--file-systems", default="ext4,xfs,btrfs")
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--window", type=float, default=2.0,
                        help="what everysec may lose at most, in seconds")
    parser.add_argument("--thin-loads", type=int, default=3)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--work", default=None)
    parser.add_argument("--no-build", action="store_true")
    parser.add_argument("--check", action="store_true")
    return parser.parse_args()


def plan(args):
    """What is tried: fault, file system, policy, method."""
    for _ in range(args.rounds):
        for name in args.only.split(","):
            for kind in args.file_systems.split(","):
                if kind not in FAULTS[name][2] or shutil.which(MAKE[kind][0]) is None:
                    continue
                for method in args.methods.split(","):
                    if args.policies:
                        policies = args.policies.split(",")
                    else:
                        # The short form: the other policy once each.
                        policies = ["everysec" if (kind, method) == ("ext4", "append")
                                    and name not in ("full", "immutable", "removed") else "always"]
                    for policy in policies:
                        yield name, kind, policy, method


def main():
    args = parse_args()
    template, seed = power_cut.begin(args, "failing disks")
    broken = 0
    for name, kind, policy, method in plan(args):
        broken += attempt(name, kind, policy, method, template, args, seed)
    print(f"{broken} broken" if broken else "everything held", flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
