"""Kills commands of mmq at random moments, with SIGKILL, and runs them again until they are through.

What they leave must equal what an undisturbed run leaves: every table of the study, row by row, and
every byte of a converted model. Python's standard library only; nothing from outside the clone.

    python3 tools/check kill [--arch instructblip] [--commands activation,generate] [--kills 50] [--seed 1]
"""

import random
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from tools.common.trial import CHECKPOINTS, COMMANDS, Failure, Trial, contents, difference
from tools.common.commands import output_of, parser
from tools.common.paths import MMQ


class KillTest(Trial):
    def __init__(self, mmq: Path, arch: str, work: Path, seed: int):
        super().__init__(mmq, arch, work)
        self.random = random.Random(seed)

    def run(self, command: str, target: Path, kill_after: float | None = None) -> bool:
        """Whether the command came to its end."""
        log = open(self.work / "log", "w")
        process = subprocess.Popen(
            [self.mmq, command] + self.arguments(command, target), stdin=subprocess.DEVNULL,
            stdout=log, stderr=subprocess.STDOUT)
        try:
            code = process.wait(timeout=kill_after)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        log.close()
        if code not in (0, -signal.SIGKILL):
            raise Failure(
                f"{command}: exit code {code}: {(self.work / 'log').read_text()[-2000:]}")
        return code == 0

    def check(self, command: str, base: Path | None, kills: int) -> tuple[int, int, object]:
        """Rounds of kills until there were `kills` of them: rounds, kills, the whole result."""
        target = self.fresh(base)
        start = time.monotonic()
        self.run(command, target)
        seconds = time.monotonic() - start
        expected = contents(target)
        whole = self.work / f"whole-{command}"
        shutil.copytree(target, whole) if target.is_dir() else shutil.copy(target, whole)
        done = rounds = 0
        while done < kills:
            target = self.fresh(base)
            rounds += 1
            for attempt in range(1000):
                # Every second round is first hit while files are opened and made.
                early = attempt < 3 and rounds % 2 == 1
                reach = min(0.08, seconds) if early else seconds
                if self.run(command, target, self.random.random() * max(reach, 0.02)):
                    break
                done += 1
            else:
                raise Failure(f"{command}: not through after 1000 kills")
            found = contents(target)
            if found != expected:
                raise Failure(
                    f"{command}, round {rounds}: {difference(expected, found)} differs from that "
                    "of an undisturbed run")
        return rounds, done, whole

    def campaign(self, chosen: list[str], kills: int):
        """Kills the chosen commands; yields command, rounds and kills of each.

        Raises: Failure.
        """
        self.run("convert", self.model)
        base = None
        for command in COMMANDS:
            if command == "import":
                output_of([self.mmq, "export", "--study", base, "--output", self.work / "exported"])
            start = None if command in ("convert", "activation", "import") else base
            rounds, done, whole = self.check(command, start, kills if command in chosen else 0)
            if command in chosen:
                yield command, rounds, done
            if command not in ("convert", "import"):
                base = whole


def main() -> int:
    given = parser(__doc__)
    given.add_argument("--arch", choices=CHECKPOINTS, default="llava-next")
    given.add_argument("--commands", default=",".join(COMMANDS))
    given.add_argument("--kills", type=int, default=50, help="kills of each command")
    given.add_argument("--seed", type=int, default=1)
    given.add_argument("--mmq", type=Path, default=MMQ)
    options = given.parse_args()
    chosen = options.commands.split(",")
    if unknown := set(chosen) - set(COMMANDS):
        given.error(f"unknown commands: {', '.join(sorted(unknown))}")

    with tempfile.TemporaryDirectory() as folder:
        test = KillTest(options.mmq, options.arch, Path(folder), options.seed)
        try:
            for command, rounds, kills in test.campaign(chosen, options.kills):
                print(f"{command}: {kills} kills in {rounds} rounds, the same result", flush=True)
        except Failure as failure:
            print(failure)
            return 1
    return 0
