"""Inputs changed by structure: what a fuzzer of bytes seldom finds. Each function takes a whole file and a random
source, and gives back bytes that a reader must take or refuse."""

import json
import random
import sqlite3
import struct
import zlib
from pathlib import Path

# What may stand where something else did.
VALUES = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    -(2**63) - 1,
    10**400,
    0.5,
    -0.0,
    1e308,
    1e-320,
    "",
    "x",
    "\u001b[2J\u009b",
    "\u202etxt",
    "9" * 70_000,
    "../../../etc/passwd",
    "/dev/zero",
    [],
    {},
    [[]],
    {"": 0},
    [0] * 5000,
]
RAW = [
    '"\\ud83d\\u00e9"',
    '"\\ud800"',
    "NaN",
    "Infinity",
    "-",
    "1e",
    "tru",
    '"\x1b"',
    "[" * 5000,
    '{"a":' * 5000,
    "1" * 5000,
    "\ufeff1",
]


def places(value, path=()):
    """The paths of all members and elements of a document."""
    yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield from places(entry, path + (key,))


def at(value, path):
    for key in path:
        value = value[key]
    return value


def json_document(data: bytes, chance: random.Random) -> bytes:
    """A member or element replaced, taken out, doubled or renamed; or text that is no JSON in its place."""
    document = json.loads(data)
    path = chance.choice(list(places(document)))
    if not path:
        return json.dumps(chance.choice(VALUES)).encode()
    parent, key = at(document, path[:-1]), path[-1]
    kind = chance.randrange(6)
    if kind == 0:
        del parent[key]
    elif kind == 1 and isinstance(parent, list):
        parent.insert(key, parent[key])
    elif kind == 2 and isinstance(parent, dict):
        parent[chance.choice(["", "x" * 70_000, "\u001b]0;x\u0007", str(key) + " "])] = parent.pop(key)
    elif kind == 3:
        parent[key] = "@raw@"
        return json.dumps(document).replace('"@raw@"', chance.choice(RAW)).encode()
    elif kind == 4 and isinstance(parent, dict):
        parent["@twice@"] = chance.choice(VALUES)
        return json.dumps(document).replace("@twice@", json.dumps(key)[1:-1]).encode()
    else:
        parent[key] = chance.choice(VALUES)
    return json.dumps(document).encode()


def json_lines(data: bytes, chance: random.Random) -> bytes:
    lines = data.splitlines()
    line = chance.randrange(len(lines))
    lines[line] = chance.choice(
        [json_document(lines[line], chance), lines[line] + lines[line], b"", b"\x00", lines[line][:-3]]
    )
    return b"\n".join(lines) + chance.choice([b"", b"\n", b"\r\n"])


def safetensors(data: bytes, chance: random.Random) -> bytes:
    """The header as a document; its length kept right most of the time."""
    size = struct.unpack("<Q", data[:8])[0]
    header = json_document(data[8 : 8 + size], chance)
    length = len(header) if chance.random() < 0.8 else chance.choice([0, 1, len(header) + 1, 2**62, 2**64 - 1])
    return struct.pack("<Q", length) + header + data[8 + size :]


def gguf(data: bytes, chance: random.Random) -> bytes:
    """Counts, lengths, types and values in the header: any aligned or unaligned number of 4 or 8 bytes."""
    changed = bytearray(data)
    end = min(len(data) - 8, chance.choice([64, 2000, len(data) - 8]))
    for _ in range(chance.randrange(1, 3)):
        place = chance.randrange(4, end)
        value = chance.choice([0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1, 7, 12, 99])
        width = chance.choice([1, 4, 8])
        changed[place : place + width] = (value & (2 ** (8 * width) - 1)).to_bytes(width, "little")
    return bytes(changed[: chance.choice([len(changed)] * 4 + [chance.randrange(len(changed))])])


def png(data: bytes, chance: random.Random) -> bytes:
    """Chunks taken out, doubled, in other order, of other content with the right checksum."""
    chunks, place = [], 8
    while place < len(data):
        size = struct.unpack(">I", data[place : place + 4])[0]
        chunks.append([data[place + 4 : place + 8], data[place + 8 : place + 8 + size]])
        place += size + 12
    chunk = chance.randrange(len(chunks))
    kind = chance.randrange(6)
    if kind == 0:
        del chunks[chunk]
    elif kind == 1:
        chunks.insert(chunk, list(chunks[chunk]))
    elif kind == 2:
        chance.shuffle(chunks)
    elif kind == 3 and chunks[chunk][1]:
        body = bytearray(chunks[chunk][1])
        body[chance.randrange(len(body))] = chance.choice([0, 1, 127, 128, 255])
        chunks[chunk][1] = bytes(body)
    elif kind == 4:
        chunks.insert(
            1,
            [
                chance.choice([b"iCCP", b"tEXt", b"zTXt", b"tRNS", b"gAMA", b"acTL", b"eXIf", b"sBIT"]),
                b"a\0\0" + zlib.compress(bytes(200_000)),
            ],
        )
    else:
        chunks = chunks[:1] + [[b"tEXt", b"k\0v"]] * 20_000 + chunks[1:]
    out = data[:8]
    for name, body in chunks:
        out += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return out


def database(path: Path, chance: random.Random) -> None:
    """A study, in place: a value of any row and column replaced, a column or table renamed or gone."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("PRAGMA ignore_check_constraints = ON")
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        table = chance.choice(tables)
        columns = [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')]
        column = chance.choice(columns)
        value = chance.choice(
            [
                None,
                -7,
                2**62,
                -(2**62),
                0,
                1,
                0.5,
                float("inf"),
                "",
                "x",
                "\x1b[31m",
                b"",
                b"\0" * 7,
                b"\xff" * 80,
                bytes(10_000),
            ]
        )
        kind = chance.randrange(8)
        try:
            if kind == 0:
                connection.execute(f'ALTER TABLE "{table}" RENAME COLUMN "{column}" TO renamed')
            elif kind == 1:
                connection.execute(f'DROP TABLE "{table}"')
            elif kind == 2:
                connection.execute(f'DELETE FROM "{table}"')
            else:
                rows = [row[0] for row in connection.execute(f'SELECT rowid FROM "{table}"')]
                row = chance.choice(rows) if rows else 0
                connection.execute(f'UPDATE "{table}" SET "{column}" = ? WHERE rowid = ?', (value, row))
        except sqlite3.Error:
            pass  # a constraint that SQLite itself holds: as good as unchanged
    connection.close()
