"""How long a server's threads keep its clients waiting: see `perf/turns.rs`, which is loaded in front
of the server's libc and writes down the longest turns of every twentieth of a second."""

import tempfile
import time
from pathlib import Path

import harness

LIBRARY = harness.ROOT / "target/release/examples/libturns.so"


class Watch:
    """Watches the turns of a server that is started by [`Watch.template`]."""

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="turns-")

    def template(self, template):
        """The command of a server with the library in front."""
        return f"env LD_PRELOAD={LIBRARY} TURNS_DIR={self.directory.name} {template}"

    def since(self, began):
        """Of all threads since a reading of the monotonic clock: how many turns, and the longest of
        the server's own doing (CPU time, and the wall's where it slept) and on the wall, in
        microseconds."""
        # Lines come each twentieth of a second.
        time.sleep(0.1)
        turns, longest = 0, [0, 0, 0]
        for file in Path(self.directory.name).iterdir():
            for line in file.read_text().splitlines():
                now, count, *figures = map(int, line.split())
                # What a line tells of may have begun a twentieth of a second before.
                if now > (began + 0.05) * 1e9:
                    turns += count
                    longest = [max(a, b) for a, b in zip(longest, figures)]
        cpu, slept, whole = (figure / 1e3 for figure in longest)
        return {"turns": turns, "cpu_us": cpu, "slept_us": slept, "whole_us": whole}
