"""What a study costs as shards: processor time over one run's, with and without the model's opening, and merging.

    python3 tools/bench shards [--arch instructblip] [--shards 8] [--rounds 4] [--mmq .build/release/mmq]

On models/demo and its bench, or another --checkpoint. Processor time, user and system: it says what a cluster's account
is charged. One run and the shards, with one thread each, go at the same time on one core, where the system gives them
turns of milliseconds: what the machine's speed does in the meantime it does to both. Each core takes rounds; their
median is shown, with the least and the greatest.
"""

import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tools.common.commands import output_of, parser
from tools.common.families import CHECKPOINTS
from tools.common.paths import DEMO, MMQ
from tools.common.trial import contents, difference

MERGED = "merged"


class Row(NamedTuple):
    """Seconds of processor time of a round."""

    one: float
    opening: float
    several: float
    merging: float

    @property
    def over(self) -> float:
        return self.several / self.one - 1

    def without(self, count: int) -> float:
        """The same without what opening costs, once in one run and so many times in shards."""
        return (self.several - count * self.opening) / (self.one - self.opening) - 1


def show(name: str, rows: list[Row], count: int, shard: Path | None = None) -> None:
    middle = Row(*(median(values) for values in zip(*rows)))
    cells = [f"{name:<11} {middle.one:>9.2f} {middle.opening:>8.3f} {middle.several:>9.2f}"]
    for shares in ([row.over for row in rows], [row.without(count) for row in rows]):
        cells.append(f"{median(shares):>7.1%} ({min(shares):+.1%} ... {max(shares):+.1%})")
    cells.append(f"{middle.merging / count:>10.3f}" + (f" {shard.stat().st_size / 1e6:>9.2f}" if shard else ""))
    print(" ".join(cells), flush=True)


class ShardBench:
    """Runs commands in a folder, a round on each core at a time."""

    def __init__(self, options, work: Path):
        self.options = options
        self.work = work
        checkpoint = options.checkpoint or DEMO / options.arch
        output_of([options.mmq, "convert", checkpoint, "--output", work / "model", "--type", "q4_0"])

    def seconds(self, core: int, words: list) -> float:
        """Processor time of a command on a core."""
        process = subprocess.Popen(
            [str(word) for word in ("taskset", "-c", core, self.options.mmq, *words)], stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE)
        complaint = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(complaint.decode())
        return usage.ru_utime + usage.ru_stime

    def round(self, core: int, number: int, command: str, settings: list, base: Path | None) -> tuple[Row, Path, Path]:
        """Seconds of a round, the whole study and a shard."""
        count, folder = self.options.shards, self.work / f"{command}-{number}"
        folder.mkdir()
        whole = folder / "whole"
        shards = [folder / f"shard-{shard}" for shard in range(1, count + 1)]
        if base is not None:
            for study in (whole, *shards):
                shutil.copy(base, study)

        def words(study: Path, *more: object) -> list:
            return [command, "--model", self.work / "model", "--bench", self.options.bench, "--study", study,
                    "--threads", 1, *settings, *more]

        def run_shards() -> float:
            return sum(self.seconds(core, words(shard, "--shard", f"{place}/{count}"))
                       for place, shard in enumerate(shards, 1))

        with ThreadPoolExecutor(2) as both:
            several, one = both.submit(run_shards), both.submit(self.seconds, core, words(whole))
            several, one = several.result(), one.result()
        # Nothing is left to do: the model and the study are opened, and that is all.
        opening = median(self.seconds(core, words(whole)) for _ in range(9))
        merged = folder / MERGED
        merging = self.seconds(core, ["merge", *shards, "--output", merged])
        if table := difference(contents(whole), contents(merged)):
            raise SystemExit(f"{command}: the table {table} of the merged study is not that of one run")
        return Row(one, opening, several, merging), whole, shards[0]

    def compare(self, command: str, settings: list, base: Path | None) -> tuple[Path, list[Row]]:
        """Gives back a whole study, and what it and its shards took in each round."""
        cores = sorted(os.sched_getaffinity(0))
        numbers = range(self.options.rounds)
        with ThreadPoolExecutor(len(cores)) as pool:
            lanes = pool.map(
                lambda lane: [self.round(cores[lane], number, command, settings, base)
                              for number in numbers[lane::len(cores)]], range(len(cores)))
            results = [result for lane in lanes for result in lane]
        rows = [row for row, _, _ in results]
        _, whole, shard = results[0]
        show(command, rows, self.options.shards, shard)
        return whole, rows


def main() -> int:
    given = parser(__doc__)
    given.add_argument("--arch", choices=CHECKPOINTS, default="llava-next")
    given.add_argument("--checkpoint", type=Path)
    given.add_argument("--bench", type=Path, default=DEMO / "bench")
    given.add_argument("--domain", default="ad,med,rs,com,doc")
    given.add_argument("--shards", type=int, default=8)
    given.add_argument("--rounds", type=int, default=4)
    given.add_argument("--mmq", type=Path, default=MMQ)
    options = given.parse_args()
    domains = ["--domain", options.domain]
    with tempfile.TemporaryDirectory() as folder:
        bench = ShardBench(options, Path(folder))
        print(f"{options.shards} shards, seconds of processor time\n"
              "command       one run  opening    shards                 over                 without    merge/each"
              "  MB/shard")
        whole, counting = bench.compare("activation", domains, None)
        output_of([options.mmq, "identify", "--model", bench.work / "model", "--study", whole])
        _, answering = bench.compare("generate", [*domains, "--greedy", "--max-tokens", "16"], whole)
        # Of both the openings count: a shard is two processes.
        show("both", [Row(*map(sum, zip(*pair))) for pair in zip(counting, answering)], options.shards)
    return 0
