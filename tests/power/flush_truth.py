#!/usr/bin/env python3
"""Does a flush tell the truth while a file system is shut down? No server is involved.

    sudo tests/power/flush_truth.py [--kind ext4|xfs] [--rounds 30]

One thread appends a record and calls fdatasync, again and again, and notes what it was told; another
shuts the file system down (FS_IOC_SHUTDOWN). Then the image is mounted again and the file's length
compared with what had been confirmed: before the shutdown began, while it was under way, and by a
call that was under way when it ended. Only the first is a promise that a power cut puts to the test.
"""

import argparse
import fcntl
import os
import random
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from power_cut import FS_IOC_SHUTDOWN, LOG_FLUSH, NO_LOG_FLUSH, Disk  # noqa: E402


def append_until_refused(path, told):
    """Appends records; `told` gets (began, ended, length confirmed) for each that was confirmed."""
    file = os.open(path, os.O_CREAT | os.O_WRONLY, 0o644)
    length = 0
    try:
        while True:
            began = time.monotonic()
            length += os.pwrite(file, os.urandom(random.randint(200, 3000)), length)
            os.fdatasync(file)
            told.append((began, time.monotonic(), length))
    except OSError:
        os.close(file)


def one_round(kind, flag, work):
    disk = Disk(kind, work)
    try:
        disk.mount()
        path = os.path.join(disk.path, "records")
        with open(path, "wb") as file:
            os.fsync(file.fileno())
        directory = os.open(disk.path, os.O_RDONLY)
        os.fsync(directory)
        told = []
        thread = threading.Thread(target=append_until_refused, args=(path, told))
        thread.start()
        time.sleep(random.uniform(0.2, 0.5))
        began = time.monotonic()
        fcntl.ioctl(directory, FS_IOC_SHUTDOWN, struct.pack("I", flag))
        over = time.monotonic()
        os.close(directory)
        thread.join()
        disk.unmount()
        disk.mount()
        kept = os.path.getsize(path)
    finally:
        disk.remove()
    lost = [(start, end) for start, end, length in told if length > kept]
    return {
        "before": sum(end < began for _, end in lost),
        "during": sum(began <= end <= over for _, end in lost),
        "across": sum(end > over >= start for start, end in lost),
        "after": sum(start > over for start, _ in lost),
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", default="ext4", choices=["ext4", "xfs"])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--work", default=None, help="where the image is made")
    args = parser.parse_args()
    total = {}
    for number in range(args.rounds):
        flag = LOG_FLUSH if number % 4 == 0 else NO_LOG_FLUSH
        for when, count in one_round(args.kind, flag, args.work).items():
            total[when] = total.get(when, 0) + count
    print(f"{args.kind}, {args.rounds} shutdowns: flushes confirmed (fdatasync said 0) and lost:")
    print(f"  confirmed before the shutdown began    {total['before']}")
    print(f"  while it was under way                 {total['during']}")
    print(f"  begun while it was, ended behind it    {total['across']}")
    print(f"  begun behind it                        {total['after']}")
    sys.exit(1 if total["before"] or total["after"] else 0)


if __name__ == "__main__":
    main()
