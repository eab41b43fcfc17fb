"""What a study costs as shards: processor time over one run's, with and without the model's opening, and merging.

    python3 tools/bench shards [--arch instructblip] [--shards 8] [--rounds 3] [--mmq .build/release/mmq]

On models/demo and its bench, or another --checkpoint. Processor time, user and system, of all threads together: it
says what a cluster's account is charged, and is hardly disturbed by what else runs. One run and the shards take turns,
and the median of the rounds is taken: where machines are shared, their speed wanders.
"""

import resource
import shutil
import tempfile
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tools.common.commands import output_of, parser
from tools.common.families import CHECKPOINTS
from tools.common.paths import DEMO, MMQ
from tools.common.trial import contents, difference

MERGED = "merged"


class Row(NamedTuple):
    """Seconds of processor time."""

    one: float
    opening: float
    several: float
    merging: float

    def show(self, name: str, count: int, shard: Path | None = None) -> None:
        net = (self.several - count * self.opening) / (self.one - self.opening) - 1
        size = f"{shard.stat().st_size / 1e6:>9.2f}" if shard else ""
        over = self.several / self.one - 1
        print(f"{name:<11} {self.one:>9.2f} {self.opening:>8.2f} {self.several:>9.2f} {over:>9.1%} {net:>9.1%}"
              f" {self.merging / count:>10.3f} {size}".rstrip(), flush=True)


class ShardBench:
    """Runs commands in a folder, each so many times."""

    def __init__(self, options, work: Path):
        self.options = options
        self.work = work
        checkpoint = options.checkpoint or DEMO / options.arch
        output_of([options.mmq, "convert", checkpoint, "--output", work / "model", "--type", "q4_0"])

    def seconds(self, words: list, study: Path, base: Path | None) -> float:
        """Processor time of a command on a new study."""
        study.unlink(missing_ok=True)
        if base is not None:
            shutil.copy(base, study)
        return self.once(words)

    def once(self, words: list) -> float:
        def spent() -> float:
            usage = resource.getrusage(resource.RUSAGE_CHILDREN)
            return usage.ru_utime + usage.ru_stime

        start = spent()
        output_of([self.options.mmq, *words])
        return spent() - start

    def compare(self, command: str, settings: list, base: Path | None) -> tuple[Path, Row]:
        """Gives back the whole study, and what it and its shards took."""
        count = self.options.shards
        whole = self.work / f"whole-{command}"
        shards = [self.work / f"{command}-{number}" for number in range(1, count + 1)]
        merged = self.work / MERGED

        def words(study: Path) -> list:
            return [command, "--model", self.work / "model", "--bench", self.options.bench, "--study", study, *settings]

        rows = []
        for _ in range(self.options.rounds):
            rows.append(Row(
                one=self.seconds(words(whole), whole, base),
                # Nothing is left to do: the model and the study are opened, and that is all.
                opening=self.once(words(whole)),
                several=sum(self.seconds([*words(shard), "--shard", f"{number}/{count}"], shard, base)
                            for number, shard in enumerate(shards, 1)),
                merging=self.seconds(["merge", *shards, "--output", merged], merged, None)))
        if table := difference(contents(whole), contents(merged)):
            raise SystemExit(f"{command}: the table {table} of the merged study is not that of one run")
        row = Row(*(median(values) for values in zip(*rows)))
        row.show(command, count, shards[0])
        return whole, row


def main() -> int:
    given = parser(__doc__)
    given.add_argument("--arch", choices=CHECKPOINTS, default="llava-next")
    given.add_argument("--checkpoint", type=Path)
    given.add_argument("--bench", type=Path, default=DEMO / "bench")
    given.add_argument("--domain", default="ad,med,rs,com,doc")
    given.add_argument("--shards", type=int, default=8)
    given.add_argument("--rounds", type=int, default=3)
    given.add_argument("--mmq", type=Path, default=MMQ)
    options = given.parse_args()
    domains = ["--domain", options.domain]
    with tempfile.TemporaryDirectory() as folder:
        bench = ShardBench(options, Path(folder))
        print(f"{options.shards} shards, seconds of processor time\n"
              "command       one run  opening    shards      over   without merge/each  MB/shard")
        whole, counting = bench.compare("activation", domains, None)
        output_of([options.mmq, "identify", "--model", bench.work / "model", "--study", whole])
        _, answering = bench.compare("generate", [*domains, "--greedy", "--max-tokens", "16"], whole)
        # Of both the openings count: a shard is two processes.
        Row(*map(sum, zip(counting, answering))).show("both", options.shards)
    return 0
