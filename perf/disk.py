"""What the disk does: counted by the kernel while a server runs, and alone, with fio."""

import json
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile


KEYS = ("flushes_per_second", "writes_per_flush", "disk_bytes_per_command")
# The same as columns of a table.
TITLES = "flushes/s | writes/flush | bytes/command"
TITLES_NOTE = "*Flushes*, *writes* and *bytes* are those that the block device completed meanwhile."


class Counts:
    """What the block device under a directory has completed since the boot: writes, bytes, flushes.

    Machine-wide, from /sys/dev/block/*/stat: whoever else writes there is in it. `None` where the
    directory stands on no block device of its own.
    """

    def __init__(self, directory):
        device = os.stat(directory).st_dev
        path = pathlib.Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat")
        try:
            fields = [int(field) for field in path.read_text().split()]
        except OSError:
            fields = []
        self.known = len(fields) >= 16
        if self.known:
            self.writes, self.bytes, self.flushes = fields[4], fields[6] * 512, fields[15]

    def since(self, before, seconds, commands):
        """Flushes a second, writes for each flush, bytes for each command."""
        if not (self.known and before.known):
            return {}
        flushes = self.flushes - before.flushes
        return {
            "flushes_per_second": flushes / seconds,
            "writes_per_flush": (self.writes - before.writes) / flushes if flushes else None,
            "disk_bytes_per_command": (self.bytes - before.bytes) / commands if commands else None,
        }


def cells(figures):
    """The columns of `TITLES`, of what `Counts.since` has given."""
    texts = []
    for key, digits in zip(KEYS, (0, 2, 1)):
        value = figures.get(key)
        texts.append("" if value is None else f"{value:.{digits}f}")
    return " | ".join(texts)


def medians(runs):
    """Of each of `KEYS`, over the runs that know it."""
    known = {key: [run[key] for run in runs if run.get(key) is not None] for key in KEYS}
    return {key: statistics.median(values) for key, values in known.items() if values}


def commits(work, core, seconds=1.0):
    """What this disk gives one thread that waits: 4 KiB each, past the page cache, over blocks that
    are there, durable before the next begins. `None` without fio."""
    if not shutil.which("fio"):
        return None
    with tempfile.TemporaryDirectory(prefix="ringstone-disk-", dir=work) as directory:
        file = os.path.join(directory, "blocks")
        with open(file, "wb") as blocks:
            blocks.write(b"\n" * (64 << 20))
            blocks.flush()
            os.fsync(blocks.fileno())
        command = ["fio", "--name=commits", f"--filename={file}", "--rw=write", "--bs=4k",
                   "--ioengine=psync", "--direct=1", "--sync=dsync", "--size=64M", "--overwrite=1",
                   f"--runtime={seconds}", "--time_based", "--output-format=json"]
        prepare = (lambda: os.sched_setaffinity(0, {core})) if core is not None else None
        done = subprocess.run(command, check=True, capture_output=True, text=True,
                              preexec_fn=prepare)
    figures = json.loads(done.stdout)["jobs"][0]["write"]
    taken = figures["clat_ns"]["percentile"]
    return {"per_second": figures["iops"], "p50_us": taken["50.000000"] / 1e3,
            "p99_us": taken["99.000000"] / 1e3}


def commits_table(by_workload):
    """The disk alone, beside each workload: medians of the rounds, lowest and highest."""
    out = ["\nThe disk alone, measured in each round beside each workload: one thread that writes 4 "
           "KiB past the page cache over blocks that are there and waits until that is durable "
           "(`perf/disk.py`, fio).\n",
           "| workload | commits/s | p50 µs | p99 µs |", "|---|---|---|---|"]
    for workload, rounds in by_workload.items():
        def of(key):
            all_of = [run[key] for run in rounds]
            return f"{statistics.median(all_of):.0f} ({min(all_of):.0f}–{max(all_of):.0f})"
        out.append(f"| {workload} | {of('per_second')} | {of('p50_us')} | {of('p99_us')} |")
    return "\n".join(out) + "\n"
