"""Runs every command over a bench as shards, merges them in several orders, and compares the result with that of one
process, row by row.

    python3 tools/check shards [--arch instructblip] [--numbers 1,2,3,8,32] [--kills 0] [--seed 1]

With --kills so many shards and merges are killed at random moments on the way. Python's standard library only.
"""

import random
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from tools.common.commands import output_of, parser
from tools.common.families import CHECKPOINTS
from tools.common.paths import MMQ
from tools.common.trial import Failure, Trial, contents, difference

# In the order in which each builds on those before it.
SHARDED = ["activation", "generate", "logit-lens", "deviation"]


class ShardTest(Trial):
    def __init__(self, options, work: Path):
        super().__init__(options.mmq, options.arch, work, train=60, val=24)
        self.random = random.Random(options.seed)
        self.kills = 0
        output_of([self.mmq, "convert", self.checkpoint, "--output", self.model, "--type", "q4_0"])

    def run(self, words: list[str], killed: bool) -> None:
        """Runs to the end, through kills at random moments if wanted."""
        delay = 0.02
        while True:
            process = subprocess.Popen([str(self.mmq), *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.PIPE, text=True)
            try:
                _, errors = process.communicate(timeout=self.random.random() * delay if killed else None)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                self.kills += 1
                delay *= 1.5
                continue
            if process.returncode:
                raise Failure(f"{words}: exit code {process.returncode}: {errors[-1000:]}")
            return

    def steps(self, study: Path, base: Path | None, command: str) -> None:
        study.unlink(missing_ok=True)
        if base is not None:
            shutil.copy(base, study)
        output_of([self.mmq, command, *self.arguments(command, study)])

    def merged(self, command: str, base: Path | None, count: int, killed: bool) -> Path:
        """The study that `count` shards make, merged at once or by twos, in a random order."""
        shards = []
        for number in range(1, count + 1):
            shard = self.work / f"shard-{number}"
            for path in self.work.glob(shard.name + "*"):
                if path.name.removeprefix(shard.name)[:1] in ("", "-", "."):
                    path.unlink()
            if base is not None:
                shutil.copy(base, shard)
            self.run([command, *self.arguments(command, shard), "--shard", f"{number}/{count}"], killed)
            shards.append(shard)
        self.random.shuffle(shards)
        output = self.work / "merged"
        output.unlink(missing_ok=True)
        if self.random.random() < 0.5 and count > 2:
            while len(shards) > 2:
                pair = self.work / f"pair-{len(shards)}-{count}"
                pair.unlink(missing_ok=True)
                self.run(["merge", *map(str, shards[:2]), "--partial", "--output", str(pair)], killed)
                shards = [*shards[2:], pair]
        for _ in range(2):  # the second time over the first
            self.run(["merge", *map(str, shards), "--output", str(output)], killed)
        return output

    def check(self, numbers: list[int], killed: bool) -> None:
        base = None
        for command in SHARDED:
            whole = self.work / f"whole-{command}"
            self.steps(whole, base, command)
            expected = contents(whole)
            for count in numbers:
                found = contents(self.merged(command, base, count, killed))
                if found != expected:
                    raise Failure(f"{command} in {count} shards: {difference(expected, found)} is another")
                print(f"{command}, {count} shards: every table equal", flush=True)
            base = whole
            if command == "activation":
                self.run(["identify", *self.arguments("identify", base)], False)


def main() -> int:
    given = parser(__doc__)
    given.add_argument("--arch", choices=CHECKPOINTS, default="llava-next")
    given.add_argument("--numbers", default="1,2,3,8,32")
    given.add_argument("--kills", type=int, default=0)
    given.add_argument("--seed", type=int, default=1)
    given.add_argument("--mmq", type=Path, default=MMQ)
    options = given.parse_args()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    numbers = [int(number) for number in options.numbers.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        test = ShardTest(options, Path(folder))
        try:
            test.check(numbers, False)
            while test.kills < options.kills:
                test.check([test.random.choice(numbers)], True)
            if options.kills:
                print(f"{test.kills} kills: every table equal")
        except Failure as failure:
            print(failure)
            return 1
    return 0
