"""Times `mmq merge` over shards of a real model's shape: made-up counts in the layout of real ones.

    python3 tools/bench merge [--shards 256] [--samples 35] [--work DIR]

A shard holds what one machine of so many counts of five domains, `samples` pictures each: about 35 MB a picture, the
sums of LLaVA-Next 7B's 455,000 neurons most of it. Prints seconds and the greatest resident memory. Python's standard
library only.
"""

import os
import random
import resource
import sqlite3
import struct
import subprocess
import tempfile
import time
from pathlib import Path

from tools.common.commands import output_of, parser
from tools.common.paths import MMQ
from tools.common.trial import Trial

# Name, layers, neurons of LLaVA-Next 7B.
MODULES = [("lang", 32, 11008), ("vision", 24, 4096), ("mmproj", 1, 4096)]
DOMAINS = ["ad", "med", "rs", "com", "doc"]
BLOCKS = 16
TOKENS = 2900


def empty_shard(mmq: Path, work: Path) -> Path:
    """A study's tables, without contents."""
    trial = Trial(mmq, "llava-next", work, train=3, val=1)
    output_of([mmq, "convert", trial.checkpoint, "--output", trial.model, "--type", "q4_0"])
    shard = work / "empty"
    output_of([mmq, "activation", *trial.arguments("activation", shard), "--shard", "1/256", "--keep-top", "0"])
    with sqlite3.connect(shard) as database:
        for table in ("block", "block_count", "activation_sum", "count", "shard", "pass", "module"):
            database.execute(f'DELETE FROM "{table}"')
        for ordinal, module in enumerate(MODULES):
            database.execute("INSERT INTO module VALUES (?, ?, ?, ?)", (ordinal, *module))
        database.execute("UPDATE setting SET value = '7b' WHERE key = 'model'")
    database.close()
    return shard


def fill(shard: Path, number: int, shards: int, samples: int) -> int:
    """What machine `number` has counted; gives back its samples."""
    chance = random.Random(number)
    own = 0
    with sqlite3.connect(shard) as database:
        for identity, domain in enumerate(DOMAINS):
            database.execute(
                "INSERT INTO pass (id, domain, split, form, bench, cursor, samples, skipped, missing_frames, "
                "vision_tokens, vision_tokens_before, finished, blocks, apart) "
                "VALUES (?, ?, 'train', 'simple', 'b', ?, ?, 0, 0, ?, ?, 1, ?, 1)",
                (identity, domain, samples, samples, samples * TOKENS, (samples - 1) * TOKENS, BLOCKS),
            )
            # Dealt out from another place in every domain, as unequal benches would.
            mine = [position for position in range(samples) if (position + 53 * identity) % shards == number]
            own += len(mine)
            for position in mine:
                block = position % BLOCKS
                database.execute(
                    "INSERT INTO block VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET samples = samples + 1",
                    (identity, block),
                )
                for module, (_, layers, neurons) in enumerate(MODULES):
                    size = layers * neurons
                    for kind in ("image", "text"):
                        database.execute(
                            "INSERT OR IGNORE INTO block_count VALUES (?, ?, ?, ?, ?, ?)",
                            (
                                identity,
                                block,
                                module,
                                kind,
                                TOKENS,
                                struct.pack(
                                    f"<{size}H", *(chance.choices(range(TOKENS), k=4096) * (size // 4096 + 1))[:size]
                                ),
                            ),
                        )
                        words = chance.randbytes(16 * 4096)
                        sums = b"".join(words[i : i + 8] + b"\0" * 8 for i in range(0, len(words), 16)) * (
                            size // 4096 + 1
                        )
                        database.execute(
                            "INSERT OR IGNORE INTO activation_sum VALUES (?, ?, ?, ?, ?, ?)",
                            (identity, module, kind, sums[: 16 * size], sums[: 16 * size], b"\0\0\x80\x3f" * size),
                        )
            database.execute(
                "INSERT INTO shard (kind, domain, split, setting, part, parts, goal, done, total, finished, seconds, "
                "cursor) VALUES ('counts', ?, 'train', 'simple', ?, ?, ?, ?, ?, 1, 1.0, ?)",
                (domain, number + 1, shards, f"{samples} samples", len(mine), len(mine), samples),
            )
    database.close()
    return own


def main() -> int:
    given = parser(__doc__)
    given.add_argument("--shards", type=int, default=256)
    given.add_argument("--samples", type=int, default=35)
    given.add_argument("--work", type=Path, help="where the shards are made (6 GB by default); removed afterwards")
    given.add_argument("--mmq", type=Path, default=MMQ)
    options = given.parse_args()
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        work = Path(folder)
        empty = empty_shard(options.mmq, work).read_bytes()
        files, counted = [], 0
        for number in range(options.shards):
            files.append(work / f"shard-{number + 1}")
            files[-1].write_bytes(empty)
            counted += fill(files[-1], number, options.shards, options.samples)
        size = sum(file.stat().st_size for file in files)
        start = time.monotonic()
        subprocess.run(
            [options.mmq, "merge", *files, "--output", work / "merged"], check=True, stdout=subprocess.DEVNULL
        )
        seconds = time.monotonic() - start
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        print(
            f"{options.shards} shards, {counted} pictures, {size / 1e9:.2f} GB: {seconds:.1f} s, "
            f"{memory / 1e6:.2f} GB resident, {os.path.getsize(work / 'merged') / 1e6:.0f} MB merged"
        )
    return 0
