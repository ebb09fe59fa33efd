"""RDB files for `perf/snapshot`, written directly: far quicker than through any server.

Version 10, plain encodings only (types 0 to 5), no checksum: every server that reads RDB takes
them and turns small values into whatever it keeps them in. Keys are `key:` and twelve digits, so
that the load generator can write to them.
"""

import base64
import binascii
import itertools
import json
import os
import random
import struct

STRING, LIST, SET, HASH, ZSET_2 = 0, 1, 2, 4, 5
RECORD_POOL = 20_000
SHAPE_POOL = 1_000


def length(n):
    """A length as RDB writes it: 6, 14, 32 or 64 bits."""
    if n < 1 << 6:
        return bytes([n])
    if n < 1 << 14:
        return struct.pack(">H", 0x4000 | n)
    if n < 1 << 32:
        return b"\x80" + struct.pack(">I", n)
    return b"\x81" + struct.pack(">Q", n)


def text(value):
    value = value if isinstance(value, bytes) else str(value).encode()
    return length(len(value)) + value


def texts(values):
    return length(len(values)) + b"".join(text(value) for value in values)


def hash_of(fields):
    return length(len(fields)) + b"".join(text(f) + text(v) for f, v in fields)


def zset_of(members):
    return length(len(members)) + b"".join(text(m) + struct.pack("<d", s) for m, s in members)


def pair(kind, key, body):
    return bytes([kind]) + text(key) + body


def key(number):
    return b"key:%012d" % number


def write(path, keys, chunks):
    """A whole file of `keys` keys from pieces of its body."""
    with open(path, "wb", 1 << 20) as file:
        file.write(b"REDIS0010\xfe\x00\xfb" + length(keys) + length(0))
        for chunk in chunks:
            file.write(chunk)
        file.write(b"\xff" + bytes(8))
    return keys


def random_strings(path, keys):
    """Keys of 16 bytes, each with 100 random bytes."""
    def chunks():
        for begin in range(0, keys, 10_000):
            count = min(10_000, keys - begin)
            noise = os.urandom(100 * count)
            yield b"".join(b"\x00\x10key:%012d\x40\x64%b" % (begin + i, noise[i * 100:i * 100 + 100])
                           for i in range(count))
    return write(path, keys, chunks())


def json_record(pick):
    """One object as an application would store it."""
    name = pick.choice(("alice", "bob", "carol", "dave", "erin", "frank", "grace"))
    return json.dumps({
        "id": pick.randrange(10**9), "name": name, "mail": f"{name}{pick.randrange(1000)}@example.org",
        "active": pick.random() < 0.5, "created_at": f"2026-11-{pick.randrange(1, 30):02}T08:00:00Z",
        "balance": round(pick.random() * 1e4, 2), "tags": pick.sample(("new", "paid", "eu", "vip"), 2),
    })


def json_strings(path, keys):
    """Values of 200 to 2,000 bytes: JSON arrays of objects with the same field names."""
    pick = random.Random(1)
    pool = ", ".join(json_record(pick) for _ in range(RECORD_POOL)).encode()

    def chunks():
        for begin in range(0, keys, 2_000):
            out = []
            for i in range(begin, min(begin + 2_000, keys)):
                size = pick.randint(200, 2000)
                at = pick.randrange(len(pool) - size)
                out.append(b"\x00\x10key:%012d%b%b" % (i, length(size), pool[at:at + size]))
            yield b"".join(out)
    return write(path, keys, chunks())


def small_shapes(pick):
    """[(type, body)] of small values of all kinds; which are common is in how many there are."""
    word = lambda: base64.b85encode(pick.randbytes(pick.randrange(3, 30)))
    some = lambda low, high: [word() for _ in range(pick.randrange(low, high))]
    make = {
        STRING: lambda: text(pick.choice((word(), str(pick.randrange(10**9)),
                                          json_record(pick), pick.randbytes(100)))),
        HASH: lambda: hash_of([(f"field:{n}", w) for n, w in enumerate(some(3, 30))]),
        LIST: lambda: texts(some(2, 60)),
        SET: lambda: texts(sorted(set(some(2, 40))) if pick.random() < 0.5
                           else pick.sample(range(10**6), pick.randrange(2, 60))),
        ZSET_2: lambda: zset_of([(w, pick.choice((n * 7, n / 3)))
                                 for n, w in enumerate(sorted(set(some(2, 40))))]),
    }
    share = {STRING: 4, HASH: 2, LIST: 1, SET: 2, ZSET_2: 1}
    return [(kind, make[kind]()) for kind, times in share.items()
            for _ in range(times * SHAPE_POOL // 10)]


def apart(name):
    """Two numbers for keys of this name, one with a slot in the lower half and one in the upper: of
    eight large values that fall as they may, one of two shards can have most of all elements."""
    def half(n):
        return binascii.crc_hqx(f"{name}:{n}".encode(), 0) % 16_384 // 8_192

    return [next(n for n in itertools.count() if half(n) == wanted) for wanted in (0, 1)]


def mixed(path, keys):
    """Small values of all types, every tenth with an expiry, and eight large ones that together
    have as many elements as there are small values, two of each type, `apart`. Streams come from a
    server, see `streams`."""
    pick = random.Random(1)
    shapes = small_shapes(pick)
    elements = max(keys // 8, 600)
    expiry = b"\xfc" + struct.pack("<Q", 4_102_444_800_000)

    def chunks():
        for begin in range(0, keys, 2_000):
            out = []
            for i in range(begin, min(begin + 2_000, keys)):
                kind, body = shapes[pick.randrange(len(shapes))]
                out.append((expiry if i % 10 == 0 else b"") + pair(kind, key(i), body))
            yield b"".join(out)
        for n in range(2):
            names = [b"member:%d:%d" % (n, i) for i in range(elements)]
            bodies = {
                "hash": (HASH, lambda: hash_of([(m, b"value of " + m) for m in names])),
                "list": (LIST, lambda: texts(names)),
                "set": (SET, lambda: texts(names)),
                "zset": (ZSET_2, lambda: zset_of([(m, i / 2) for i, m in enumerate(names)])),
            }
            for kind, (code, body) in bodies.items():
                name = f"large:{kind}"
                yield pair(code, f"{name}:{apart(name)[n]}", body())
    return write(path, keys + 8, chunks())


def large_values(path, fields, string_bytes):
    """A hash `hash` of many fields `field:` and twelve digits, and a string `string`."""
    def chunks():
        yield bytes([HASH]) + text("hash") + length(fields)
        for begin in range(0, fields, 10_000):
            yield b"".join(b"\x12field:%012d\x14%020d" % (i, i)
                           for i in range(begin, min(begin + 10_000, fields)))
        yield bytes([STRING]) + text("string") + length(string_bytes)
        block = os.urandom(1 << 20)
        for begin in range(0, string_bytes, len(block)):
            yield block[:string_bytes - begin]
    return write(path, 2, chunks())
