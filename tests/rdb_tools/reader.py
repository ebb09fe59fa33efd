#!/usr/bin/env python3
"""Reads an RDB file of version 12 or below and says what is in it, line by line.

Written from the published descriptions of the format alone, as a second opinion on what Ringstone
writes where no installed redis-server can have one: sets in listpacks (20), streams of the third
kind (21), hashes whose fields have times (24, 25). Texts are hexadecimal.

    types 4 11 20 ...
    DB KEY expires MILLISECONDS
    DB KEY string TEXT
    DB KEY set MEMBER
    DB KEY list INDEX TEXT
    DB KEY zset MEMBER SCORE                  (the bits of it)
    DB KEY hash FIELD VALUE MILLISECONDS      (-1: never)
    DB KEY stream length N last ID deleted ID added N
    DB KEY entry ID TEXT ...
    DB KEY group NAME last ID read N          (or unknown)
    DB KEY consumer GROUP NAME seen MILLISECONDS active MILLISECONDS
    DB KEY pending GROUP CONSUMER ID delivered MILLISECONDS times N
"""

import struct
import sys

POLYNOMIAL = 0x95AC9329AC4BC9B5


def crc64(data):
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ POLYNOMIAL if byte & 1 else byte >> 1
        table.append(byte)
    crc = 0
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc


def unlzf(packed, length):
    out = bytearray()
    at = 0
    while at < len(packed):
        control = packed[at]
        at += 1
        if control < 32:
            out += packed[at:at + control + 1]
            at += control + 1
            continue
        count = control >> 5
        if count == 7:
            count += packed[at]
            at += 1
        distance = ((control & 31) << 8 | packed[at]) + 1
        at += 1
        for _ in range(count + 2):
            out.append(out[-distance])
    assert len(out) == length, "compressed data"
    return bytes(out)


def listpack(data):
    """The elements: texts, or whole numbers."""
    total, count = struct.unpack_from("<IH", data)
    assert total == len(data) and data[-1] == 0xFF, "a listpack"
    out, at = [], 6
    while data[at] != 0xFF:
        first, begin = data[at], at
        if first < 0x80:
            out.append(first)
            at += 1
        elif first < 0xC0:
            size = first & 0x3F
            out.append(data[at + 1:at + 1 + size])
            at += 1 + size
        elif first < 0xE0:
            value = (first & 0x1F) << 8 | data[at + 1]
            out.append(value - (1 << 13) if value >= 1 << 12 else value)
            at += 2
        elif first < 0xF0:
            size = (first & 0x0F) << 8 | data[at + 1]
            out.append(data[at + 2:at + 2 + size])
            at += 2 + size
        elif first == 0xF0:
            size = struct.unpack_from("<I", data, at + 1)[0]
            out.append(data[at + 5:at + 5 + size])
            at += 5 + size
        else:
            width = {0xF1: 2, 0xF2: 3, 0xF3: 4, 0xF4: 8}[first]
            out.append(int.from_bytes(data[at + 1:at + 1 + width], "little", signed=True))
            at += 1 + width
        size = at - begin
        # How long it was, seven bits at a time, to be read from the end.
        back = [size & 0x7F]
        while size >> 7 * len(back):
            back.append(size >> 7 * len(back) & 0x7F | 0x80)
        back = bytes(reversed(back)) if len(back) == 1 else bytes([back[-1] & 0x7F]) + bytes(
            part | 0x80 for part in reversed(back[:-1]))
        assert data[at:at + len(back)] == back, "the way back of a listpack"
        at += len(back)
    assert at + 1 == len(data) and count in (len(out), 0xFFFF), "a listpack's elements"
    return out


def text(element):
    return str(element).encode() if isinstance(element, int) else element


class Reader:
    def __init__(self, data):
        self.data, self.at, self.lines, self.types = data, 0, [], set()

    def raw(self, size):
        assert self.at + size <= len(self.data), "the file is cut off"
        self.at += size
        return self.data[self.at - size:self.at]

    def byte(self):
        return self.raw(1)[0]

    def number(self, form):
        return struct.unpack(form, self.raw(struct.calcsize(form)))[0]

    def length(self):
        """A length; or (None, n), where n is a special form of a string."""
        first = self.byte()
        kind = first >> 6
        if kind == 0:
            return first
        if kind == 1:
            return (first & 0x3F) << 8 | self.byte()
        if kind == 3:
            return None, first & 0x3F
        return self.number({0x80: ">I", 0x81: ">Q"}[first])

    def string(self):
        size = self.length()
        if not isinstance(size, tuple):
            return self.raw(size)
        if size[1] == 3:
            packed, length = self.length(), self.length()
            return unlzf(self.raw(packed), length)
        return str(self.number({0: "<b", 1: "<h", 2: "<i"}[size[1]])).encode()

    def id(self):
        return f"{self.length()}-{self.length()}"

    def raw_id(self):
        return "%d-%d" % struct.unpack(">QQ", self.raw(16))

    def say(self, *words):
        words = (word.hex() if isinstance(word, bytes) else str(word) for word in words)
        self.lines.append(f"{self.db} {self.key.hex()} " + " ".join(words))

    def file(self):
        assert self.raw(5) == b"REDIS" and int(self.raw(4)) <= 12, "a magic"
        self.db = 0
        expires = None
        while True:
            code = self.byte()
            if code == 0xFF:
                break
            if code == 0xFA:
                self.string(), self.string()
            elif code == 0xFB:
                self.length(), self.length()
            elif code == 0xF4:  # of a slot: its number, its keys, those that expire
                self.length(), self.length(), self.length()
            elif code == 0xFE:
                self.db = self.length()
            elif code == 0xFC:
                expires = self.number("<q")
            else:
                self.key = self.string()
                if expires is not None:
                    self.say("expires", expires)
                expires = None
                self.types.add(code)
                self.value(code)
        body = self.data[:self.at]
        found = self.number("<Q")
        assert found in (0, crc64(body)), "the checksum"
        assert self.at == len(self.data), "something behind the end"

    def value(self, kind):
        if kind == 0:
            self.say("string", self.string())
        elif kind == 2:
            for _ in range(self.length()):
                self.say("set", self.string())
        elif kind == 11:
            data = self.string()
            width, count = struct.unpack_from("<II", data)
            form = {2: "h", 4: "i", 8: "q"}[width]
            for n in struct.unpack(f"<{count}{form}", data[8:]):
                self.say("set", str(n).encode())
        elif kind == 20:
            for member in listpack(self.string()):
                self.say("set", text(member))
        elif kind == 18:
            self.list()
        elif kind == 5:
            for _ in range(self.length()):
                self.say("zset", self.string(), f"{self.number('<Q'):016x}")
        elif kind == 17:
            pairs = listpack(self.string())
            for member, score in zip(pairs[::2], pairs[1::2]):
                self.say("zset", text(member), struct.pack(">d", float(text(score))))
        elif kind in (4, 16, 24, 25):
            self.hash(kind)
        elif kind in (19, 21):
            self.stream(kind)
        else:
            raise AssertionError(f"type {kind} of {self.key}")

    def list(self):
        index = 0
        for _ in range(self.length()):
            packed = self.length()
            node = self.string()
            for element in listpack(node) if packed == 2 else [node]:
                self.say("list", index, text(element))
                index += 1

    def hash(self, kind):
        if kind == 4:
            for _ in range(self.length()):
                self.say("hash", self.string(), self.string(), -1)
        elif kind == 16:
            pairs = listpack(self.string())
            for field, value in zip(pairs[::2], pairs[1::2]):
                self.say("hash", text(field), text(value), -1)
        elif kind == 24:
            least, times = self.number("<q"), []
            for _ in range(self.length()):
                ttl = self.length()
                at = -1 if ttl == 0 else least + ttl - 1
                times += [at] if ttl else []
                self.say("hash", self.string(), self.string(), at)
            assert least == min(times), "the earliest time"
        else:
            least, parts = self.number("<q"), listpack(self.string())
            times = [text(at) for at in parts[2::3]]
            for field, value, at in zip(parts[::3], parts[1::3], times):
                self.say("hash", text(field), text(value), -1 if at == b"0" else int(at))
            assert least == min(int(at) for at in times if at != b"0"), "the earliest time"
            # Those that end come first, the next one to end in front.
            order = [int(at) or 1 << 62 for at in times]
            assert order == sorted(order), "the order of times"

    def stream(self, kind):
        entries, self.first = 0, None
        for _ in range(self.length()):
            master = struct.unpack(">QQ", self.string())
            entries += self.node(master, listpack(self.string()))
        length, last = self.length(), self.id()
        first, deleted, added = self.id(), self.id(), self.length()
        assert entries == length, "as many entries as it says"
        assert length == 0 or first == self.first, "the first entry"
        self.say("stream", "length", length, "last", last, "deleted", deleted, "added", added)
        for _ in range(self.length()):
            group = self.string()
            last, read = self.id(), self.length()
            # 2^64 - 1: nobody knows.
            self.say("group", group, "last", last, "read", "unknown" if read + 1 == 1 << 64 else read)
            waiting = {}
            for _ in range(self.length()):
                id = self.raw_id()
                waiting[id] = (self.number("<q"), self.length())
            for _ in range(self.length()):
                name, seen = self.string(), self.number("<q")
                active = self.number("<q") if kind == 21 else seen
                self.say("consumer", group, name, "seen", seen, "active", active)
                for _ in range(self.length()):
                    id = self.raw_id()
                    at, times = waiting.pop(id)
                    self.say("pending", group, name, id, "delivered", at, "times", times)
            assert not waiting, "all that is pending is with somebody"

    def node(self, master, parts):
        parts = iter(parts)
        count, deleted, fields = next(parts), next(parts), next(parts)
        names = [text(next(parts)) for _ in range(fields)]
        assert next(parts) == 0, "the end of a master entry"
        seen = gone = 0
        for flags in parts:
            ms, seq = master[0] + next(parts), master[1] + next(parts)
            if flags & 2:
                pairs = [(name, text(next(parts))) for name in names]
            else:
                pairs = [(text(next(parts)), text(next(parts))) for _ in range(next(parts))]
            size = len(pairs) + 3 if flags & 2 else 2 * len(pairs) + 4
            assert next(parts) == size, "the way back of an entry"
            if flags & 1:
                gone += 1
                continue
            self.first = self.first or f"{ms}-{seq}"
            seen += 1
            self.say("entry", f"{ms}-{seq}", *(part for pair in pairs for part in pair))
        assert (seen, gone) == (count, deleted), "what a node says of itself"
        return seen


def main():
    with open(sys.argv[1], "rb") as file:
        reader = Reader(file.read())
    reader.file()
    print("types", *sorted(reader.types))
    print("\n".join(sorted(reader.lines)))


main()
