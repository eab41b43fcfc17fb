"""Running mmq under disturbances, and counting what came of it."""

import os
import random
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from tools.check.writers import ENVIRONMENT, Writers
from tools.common.commands import output_of
from tools.common.paths import ROOT
from tools.common.trial import Failure

# Seconds: longer, and it hangs.
PATIENCE = 60.0
# So many findings of a row are told; the others are counted.
SHOWN = 20


@dataclass
class Row:
    """A line of the table: how often something was tried, and what came of it."""

    part: str
    model: str
    what: str
    tried: int = 0
    results: dict[str, int] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    seconds: float = 0

    @property
    def key(self) -> tuple[str, str, str]:
        return self.part, self.model, self.what

    def count(self, result: str, times: int = 1) -> None:
        self.tried += times
        self.results[result] = self.results.get(result, 0) + times

    def found(self, finding: str) -> None:
        self.count("FINDING")
        if len(self.findings) < SHOWN:
            self.findings.append(finding)
            print(f"FINDING {self.part}, {self.model}, {self.what}: {finding}", flush=True)

    def attempt(self, about: str, tried) -> None:
        """Counts what came of an attempt; a failure is a finding, and the row goes on."""
        try:
            self.count(tried())
        except Failure as failure:
            self.found(f"{about}: {failure}")


@dataclass
class Result:
    """What a run of mmq came to."""

    code: int
    output: bytes
    errors: bytes
    seconds: float

    def expect_well(self, limit: float = PATIENCE) -> None:
        """It ended by itself, in time, and said nothing that a terminal obeys.

        Raises: Failure.
        """
        if self.code < 0:
            raise Failure(f"ended by {signal.Signals(-self.code).name}: {self.errors[-500:]!r}")
        if self.code not in (0, 1, 2):
            raise Failure(f"exit code {self.code}: {self.errors[-500:]!r}")
        if self.seconds > limit:
            raise Failure(f"took {self.seconds:.1f} s")
        said = self.output + self.errors
        if b"\x1b" in said or any(ch in said.decode(errors="replace") for ch in "\u009b\u202e\u2066"):
            raise Failure("a control character reached the terminal")
        if self.code and (not self.errors.strip() or len(self.errors) > 8000):
            raise Failure(f"exit code {self.code} with {len(self.errors)} bytes on stderr")
        if b"Fatal error" in self.errors:
            raise Failure(f"{self.errors[-500:]!r}")

    @property
    def says(self) -> str:
        """Its exit code and the end of its errors, for a finding."""
        return f"exit code {self.code}: {self.errors[-300:]!r}"


class Torture(Writers):
    """The commands of one model, and the library that makes their writes fail.

    options: of the campaign; size: samples of the bench's two splits.
    """

    def __init__(self, options, arch: str, work: Path, size: tuple[int, int]):
        super().__init__(options.mmq, arch, work, *size)
        self.arch = arch
        self.options = options
        self.random = random.Random()
        self.library = work / "faults.so"
        clang = os.environ.get("CC") or str(Path(shutil.which("swift") or "/").resolve().parent / "clang")
        source = ROOT / "tools/check/torture/faults.c"
        output_of([clang, "-O1", "-shared", "-fPIC", source, "-o", self.library, "-ldl"])

    def begin_row(self, row: Row) -> None:
        """The same row tries the same whatever was tried before it."""
        self.random.seed(f"{self.options.seed} {row.key}")

    def run(self, words, disturbed: dict[str, str] | None = None, meanwhile=None) -> Result:
        """Runs mmq; `disturbed`: variables of the library; `meanwhile` is called with the process.

        Raises: Failure if it does not end.
        """
        environment = dict(ENVIRONMENT)
        if disturbed is not None:
            environment |= disturbed | {"LD_PRELOAD": str(self.library)}
        start = time.monotonic()
        process = subprocess.Popen(
            [str(self.mmq), *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=environment)
        try:
            if meanwhile:
                meanwhile(process)
            output, errors = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failure(f"{words[0]}: still running after {PATIENCE:.0f} s") from None
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
        return Result(process.returncode, output, errors, time.monotonic() - start)

    def run_to_end(self, name: str, start: str) -> None:
        """Runs the command on what lies there: it must end well, with the result of an undisturbed run.

        Raises: Failure.
        """
        result = self.run(self.words(name))
        result.expect_well()
        if result.code:
            raise Failure(f"the run that followed: {result.says}")
        try:
            self.compare(name, start)
        except Failure as failure:
            raise Failure(f"after the run that followed: {failure}") from None
