#!/usr/bin/env python3
"""Reads a .lwcap capture by docs/format.md alone and prints it as JSON, one object a line.

It walks from block to block and checks what it reads, but does not search a damaged file for what is left.
Needs zstd: Python 3.14, the package zstandard, or the system's libzstd.
"""

import ctypes
import ctypes.util
import json
import struct
import sys
import zlib

HEADER, RUN, EVENTS, END = 1, 2, 3, 5
COLUMNS = ["time", "kind", "pid", "tid", "flags", "fd_type", "ret", "arg0", "arg1", "arg2",
           "name", "strings", "data_length", "data"]


def decompressor():
    try:
        from compression import zstd
        return lambda data, size: zstd.decompress(data)
    except ImportError:
        pass
    try:
        import zstandard
        return lambda data, size: zstandard.ZstdDecompressor().decompress(data, max_output_size=size)
    except ImportError:
        pass
    name = ctypes.util.find_library("zstd")
    if name is None:
        sys.exit(77)
    library = ctypes.CDLL(name)
    library.ZSTD_decompress.restype = ctypes.c_size_t
    library.ZSTD_decompress.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]

    def decompress(data, size):
        out = ctypes.create_string_buffer(max(size, 1))
        count = library.ZSTD_decompress(out, size, data, len(data))
        assert count == size, "a segment does not decompress"
        return out.raw[:size]

    return decompress


class Bytes:
    """Takes values off the front of bytes; without bytes, every number is 0."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        assert self.at + count <= len(self.data), "cut off"
        self.at += count
        return self.data[self.at - count:self.at]

    def fixed(self, form):
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))

    def byte(self):
        return 0 if self.data is None else self.take(1)[0]

    def varint(self):
        value = shift = 0
        while self.data is not None:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        return value

    def zigzag(self):
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def set(self):
        members, before = [], 0
        for _ in range(self.varint()):
            before += self.varint()
            members.append(before)
        return members


def blocks(capture):
    magic, major, minor, capture_id, crc = struct.unpack("<8sHHII", capture[:20])
    assert magic == b"\x89LWC\r\n\x1a\n" and crc == zlib.crc32(capture[:16]), "not a capture"
    assert major == 1, "another major version"
    at, expected = 20, 0
    while at < len(capture):
        head = capture[at:at + 28]
        marker, block_id, sequence, kind, flags, length, payload_crc, crc = struct.unpack("<4sIIHHIII", head)
        payload = capture[at + 28:at + 28 + length]
        assert marker == b"\xb7LWB" and crc == zlib.crc32(head[:24]), "no block"
        assert (block_id, sequence) == (capture_id, expected), "not the block expected"
        assert payload_crc == zlib.crc32(payload), "damaged block"
        yield kind, payload
        at, expected = at + 28 + length, expected + 1


def events(payload, decompress):
    payload = Bytes(payload)
    summary = Bytes(payload.take(*payload.fixed("I")))
    run, count, number, time, _latest = summary.fixed("IIQQQ")
    kinds, pids = summary.set(), summary.set()
    columns = {name: Bytes(None) for name in COLUMNS}
    table = []
    for _ in range(payload.byte()):
        table.append((payload.byte(), payload.byte(), payload.varint(), payload.varint()))
    for column, encoding, raw, stored in table:
        data = payload.take(stored)
        if 1 <= column <= len(COLUMNS):
            data = decompress(data, raw) if encoding == 1 else data
            assert len(data) == raw
            columns[COLUMNS[column - 1]] = Bytes(data)
    names, used, strings = [], 0, columns["strings"]
    while strings.data is not None and strings.at < len(strings.data):
        names.append(strings.take(strings.varint()))
    for position in range(count):
        time = (time + columns["time"].zigzag()) % 2**64
        pid = pids[columns["pid"].varint()]
        name = columns["name"].varint()
        if name == 1:
            name, used = used + 2, used + 1
        length = columns["data_length"].varint()
        yield {
            "run": run,
            "number": number + position,
            "time": time,
            "pid": pid,
            "tid": pid + columns["tid"].zigzag(),
            "kind": kinds[columns["kind"].varint()],
            "flags": columns["flags"].byte(),
            "fd_type": columns["fd_type"].byte(),
            "ret": columns["ret"].zigzag(),
            "args": [columns[name].zigzag() for name in ("arg0", "arg1", "arg2")],
            "name": names[name - 2].hex() if name else "",
            "data": columns["data"].take(length).hex() if length else "",
        }


def main():
    decompress = decompressor()
    with open(sys.argv[1], "rb") as file:
        capture = file.read()
    total = 0
    for kind, payload in blocks(capture):
        if kind == HEADER:
            print(json.dumps({"header": json.loads(payload)}))
        elif kind == RUN:
            print(json.dumps({"run": json.loads(payload[12:])}))
        elif kind == EVENTS:
            for event in events(payload, decompress):
                total += 1
                print(json.dumps(event))
        elif kind == END:
            assert struct.unpack("<QQ", payload)[1] == total, "events are missing"


main()
