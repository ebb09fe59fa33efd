"""How long a server thread keeps its clients waiting by itself, seen by the kernel.

A shard serves everybody between two waits of its loop. `perf record` notes, on the thread's core,
when each `io_uring_enter` of it begins and returns, and who gets the core when it is taken away. A
*turn* is the time from a return to the next call. Of it counts as the server's own:

- what the thread spent on the core, system calls and page faults included;
- what it slept for (a lock of the kernel's, say);
- what other threads of the same process had the core for.

What is left, other processes and the idle task while the thread could have run, is the machine's,
and is shown beside. Time that the hypervisor takes stands in the server's own: nothing here tells it
apart, so the figures are upper bounds.
"""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

SWITCH = "sched:sched_switch"
ENTER = "syscalls:sys_enter_io_uring_enter"
EXIT = "syscalls:sys_exit_io_uring_enter"
LINE = re.compile(rb"^\s*(\d+)\s+(\d+)\.(\d+):\s+(\S+):(.*)$")
PREV = re.compile(rb"prev_pid=(\d+) prev_prio=\d+ prev_state=(\S+) ==> .*next_pid=(\d+)")


def thread_of(pid, name):
    """The thread of a process with this name."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().strip() == name:
            return int(task.name)
    raise RuntimeError(f"no thread {name} in {pid}")


class Watch:
    """Watches one thread, from the begin to [`Watch.result`]."""

    def __init__(self, pid, thread, core):
        if not shutil.which("perf"):
            raise RuntimeError("perf (of linux-perf) is needed to see turns")
        self.pid, self.thread = pid, thread
        self.file = tempfile.NamedTemporaryFile(prefix="turns-")
        only = f"common_pid == {thread}"
        elsewhere = ",".join(str(n) for n in os.sched_getaffinity(0) - {core}) or str(core)
        self.process = subprocess.Popen(
            ["taskset", "-c", elsewhere, "perf", "record", "-q", "-C", str(core), "-m", "8M", "-o", self.file.name,
             "-e", SWITCH, "-e", ENTER, "--filter", only, "-e", EXIT, "--filter", only],
            stderr=subprocess.PIPE)

    def result(self):
        """Ends it; gives the number of turns and the longest in microseconds: of the server's own
        doing, its other threads' part in that, and with the machine's."""
        self.process.terminate()
        self.process.communicate()
        own = {int(task.name) for task in Path(f"/proc/{self.pid}/task").iterdir()}
        script = subprocess.Popen(
            ["perf", "script", "-i", self.file.name, "-F", "tid,time,event,trace", "--ns"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        turns = Turns(self.thread, own)
        for line in script.stdout:
            turns.add(line)
        script.wait()
        self.file.close()
        return turns.found()


class Turns:
    """Makes turns of what has been noted."""

    def __init__(self, thread, own):
        self.thread, self.own = thread, own
        self.count = self.longest = self.others = self.whole = 0
        self.began = self.since = None
        self.sleeps = False

    def add(self, line):
        match = LINE.match(line)
        if not match:
            return
        thread, seconds, rest, event, text = match.groups()
        now = int(seconds) * 10**9 + int(rest.ljust(9, b"0"))
        if event.endswith(b"sched_switch"):
            self.switched(now, text)
        elif int(thread) == self.thread and event.endswith(b"sys_exit_io_uring_enter"):
            self.began, self.foreign, self.siblings, self.since = now, 0, 0, None
        elif int(thread) == self.thread and self.began is not None:
            whole = now - self.began
            self.count += 1
            self.whole = max(self.whole, whole)
            if whole - self.foreign > self.longest:
                self.longest, self.others = whole - self.foreign, self.siblings
            self.began = None

    def switched(self, now, text):
        """The core goes from one thread to another."""
        if self.began is None:
            return
        previous, state, following = PREV.search(text).groups()
        previous, following = int(previous), int(following)
        if self.since is not None and not self.sleeps:
            # The thread could have run, and another had the core.
            if previous in self.own:
                self.siblings += now - self.since
            else:
                self.foreign += now - self.since
        self.since = None
        if following != self.thread:
            self.since = now
            if previous == self.thread:
                self.sleeps = not state.startswith(b"R")

    def found(self):
        return {"turns": self.count, "own_us": self.longest / 1e3,
                "threads_us": self.others / 1e3, "whole_us": self.whole / 1e3}
