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
# What may stand in a cell of a table.
CELLS = [
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
    """A study, in place: a value of any row and column replaced or flipped, rows gone, a column renamed, a table gone.

    The file does change: tables are made without STRICT first, so that any value can stand in any column, and where
    SQLite itself does not let a change in (NOT NULL, a key that is there already), another one is made.
    """
    database = sqlite3.connect(path, isolation_level=None)
    try:
        database.execute("PRAGMA foreign_keys = OFF")
        database.execute("PRAGMA ignore_check_constraints = ON")
        database.execute("PRAGMA writable_schema = ON")
        # STRICT makes a key NOT NULL by itself, and mmq looks whether columns are what they should be.
        database.execute(
            "UPDATE sqlite_master SET sql = replace(replace(replace(sql, 'TEXT PRIMARY KEY', "
            "'TEXT NOT NULL PRIMARY KEY'), 'STRICT, WITHOUT ROWID', 'WITHOUT ROWID'), ') STRICT', ')')")
        database.execute("PRAGMA writable_schema = RESET")
        for _ in range(1000):
            try:
                if change(database, chance):
                    return
            except sqlite3.Error:
                continue
        raise ValueError(f"{path}: no change in a thousand tries")
    finally:
        database.close()


def change(database: sqlite3.Connection, chance: random.Random) -> bool:
    """Tries one change; whether anything is another now."""
    tables = [row[0] for row in database.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")]
    table = chance.choice(tables)
    described = list(database.execute(f'PRAGMA table_info("{table}")'))
    column = chance.choice(described)[1]
    kind = chance.randrange(16)
    if kind == 0:
        database.execute(f'ALTER TABLE "{table}" RENAME COLUMN "{column}" TO renamed')
        return True
    if kind == 1:
        database.execute(f'DROP TABLE "{table}"')
        return True
    if kind == 2:
        return database.execute(f'DELETE FROM "{table}"').rowcount > 0
    # By its key, for some tables have no rowid.
    keys = [name for _, name, _, _, _, key in described if key]
    rows = list(database.execute(
        f'SELECT "{column}", {", ".join(f"""quote("{key}")""" for key in keys)} FROM "{table}"'))
    if not rows or not keys:
        return False
    old, *place = chance.choice(rows)
    where = " AND ".join(f'"{key}" IS {value}' for key, value in zip(keys, place))
    if kind == 3:
        return database.execute(f'DELETE FROM "{table}" WHERE {where}').rowcount > 0
    new = flipped(old, chance) if kind < 8 else chance.choice(CELLS)
    if type(new) is type(old) and new == old:
        return False
    database.execute(f'UPDATE "{table}" SET "{column}" = ? WHERE {where}', (new,))
    # SQLite may turn a value into what it held (1.0 in a column of integers).
    now = database.execute(f'SELECT count(*) FROM "{table}" WHERE {where} AND "{column}" IS ?', (old,)).fetchone()[0]
    return column in keys or now == 0


def flipped(value, chance: random.Random):
    """A value of the same kind that differs in a bit, a letter or a step."""
    if isinstance(value, bytes) and value:
        place = chance.randrange(len(value))
        return value[:place] + bytes([value[place] ^ 1 << chance.randrange(8)]) + value[place + 1 :]
    if isinstance(value, str) and value:
        place = chance.randrange(len(value))
        return value[:place] + chance.choice(["", "x", "9", "-", " ", "]", '"']) + value[place + 1 :]
    if isinstance(value, int):
        return value ^ 1 << chance.randrange(62)
    if isinstance(value, float):
        return value + chance.choice([-1, 1, 1e-9, 1e18])
    return chance.choice(CELLS)
