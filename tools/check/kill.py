"""Kills commands of mmq at random moments, with SIGKILL, and runs them again until they are through.

After each kill nothing half-written may have a final name, and a study must be whole as far as it has come; in the end
there must be what an undisturbed run leaves: every table of a study, row by row, and every byte of a file. Python's
standard library only; nothing from outside the clone.

    python3 tools/check kill [--arch instructblip] [--commands activation,generate] [--kills 50] [--seed 1]
"""

import random
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from tools.check.writers import ENVIRONMENT, WRITERS, Writers
from tools.common.commands import parser
from tools.common.families import CHECKPOINTS
from tools.common.paths import MMQ
from tools.common.trial import Failure

# Of what lies between two moments of a command that takes this long a kill tells nothing.
LEAST = 0.02
EARLY = 0.08
# Of one command; then it is given up.
MOST_FAILURES = 20


class Killer:
    """Kills commands.

    writers: what they work on; chance: when; library: makes a process end at the n-th call that writes, or None for
    random moments only (tools/check/torture/faults.c).
    """

    def __init__(self, writers: Writers, chance: random.Random, library: Path | None = None):
        self.writers = writers
        self.random = chance
        self.library = library
        self.rounds = self.at_moments = self.at_writes = 0

    @property
    def kills(self) -> int:
        return self.at_moments + self.at_writes

    def run(self, name: str, after: float | None = None, at_write: int | None = None) -> bool:
        """Whether the command came to its end before it was killed."""
        environment = dict(ENVIRONMENT)
        if at_write is not None:
            environment |= {"LD_PRELOAD": str(self.library), "MMQ_FAULT_AT": str(at_write), "MMQ_FAULT_KILL": "1"}
        log = self.writers.work / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(self.writers.mmq), *self.writers.words(name)], stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, env=environment)
            try:
                code = process.wait(timeout=after)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
        if code not in (0, -signal.SIGKILL):
            raise Failure(f"exit code {code}: {log.read_text(errors='replace')[-2000:]}")
        return code == 0

    def writes(self, name: str, start: str) -> int:
        """How many calls of an undisturbed run write."""
        total = self.writers.work / "total"
        self.writers.begin(name, start)
        subprocess.run(
            [self.writers.mmq, *self.writers.words(name)], check=True, capture_output=True,
            env=ENVIRONMENT | {"LD_PRELOAD": str(self.library), "MMQ_FAULT_TOTAL": str(total)})
        return int(total.read_text().split()[0])

    def check(self, name: str, kills: int, found) -> None:
        """Kills a command until there were so many kills; `found` is told each failure, and a new round begins."""
        writers = self.writers
        starts = writers.starts(name)
        for start in starts:
            writers.expected(name, start)
        writers.begin(name, starts[0])
        begun = time.monotonic()
        self.run(name)
        seconds = max(LEAST, time.monotonic() - begun)
        writes = {start: self.writes(name, start) for start in starts} if self.library else {}
        failures = 0
        while self.kills < kills and failures < MOST_FAILURES:
            start = starts[self.rounds % len(starts)]
            self.rounds += 1
            try:
                self.round(name, start, seconds, writes.get(start, 0))
            except Failure as failure:
                failures += 1
                found(f"round {self.rounds}, {start}: {failure}")

    def round(self, name: str, start: str, seconds: float, writes: int) -> None:
        """Kills a command, again and again, until it is through.

        Raises: Failure.
        """
        self.writers.begin(name, start)
        for attempt in range(1000):
            after = at_write = None
            if writes and self.random.random() < 0.5:
                at_write = self.random.randrange(1, writes + 1)
            else:
                # Every second round is first hit while files are opened and made. Later kills come later: what
                # begins anew each time would never be through on a machine that has become busier.
                early = attempt < 3 and self.rounds % 2 == 1
                after = self.random.random() * (min(EARLY, seconds) if early else seconds * (1 + attempt / 10))
            if self.run(name, after, at_write):
                return self.writers.compare(name, start)
            self.at_writes += at_write is not None
            self.at_moments += at_write is None
            try:
                self.writers.look(name, start)
            except Failure as failure:
                moment = f"write {at_write} of {writes}" if at_write else f"{after:.3f} of {seconds:.3f} s"
                raise Failure(f"killed at {moment}: {failure}") from None
        raise Failure("not through after 1000 kills")


def main() -> int:
    given = parser(__doc__)
    given.add_argument("--arch", choices=CHECKPOINTS, default="llava-next")
    given.add_argument("--commands", default=",".join(WRITERS), help="default: all that write")
    given.add_argument("--kills", type=int, default=50, help="kills of each command")
    given.add_argument("--seed", type=int, default=1)
    given.add_argument("--mmq", type=Path, default=MMQ)
    options = given.parse_args()
    chosen = options.commands.split(",")
    if unknown := set(chosen) - set(WRITERS):
        given.error(f"unknown commands: {', '.join(sorted(unknown))}")

    failures = []
    with tempfile.TemporaryDirectory() as folder:
        writers = Writers(options.mmq, options.arch, Path(folder), train=300, val=40)
        for name in chosen:
            killer = Killer(writers, random.Random(f"{options.seed} {name}"))
            before = len(failures)
            killer.check(name, options.kills, failures.append)
            print(f"{name}: {killer.kills} kills in {killer.rounds} rounds, "
                  f"{'the same result' if len(failures) == before else failures[before:]}", flush=True)
    return 1 if failures else 0
