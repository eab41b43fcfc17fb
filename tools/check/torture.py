"""A long campaign against mmq: inputs changed by structure, every write failing once, files shortened, removed and
replaced under a run, two writers, a clock that runs back, kills at random moments. Ends with one table, as
docs/reliability.md has it.

    python3 tools/check torture [--only mutations,faults,files,writers,clock,kills] [--rounds 300] [--kills 500]

Nothing may crash, hang, leave half a file under its final name or end in another study than an undisturbed run. Needs
clang (Swift's own will do) for the library that makes writes fail. Python's standard library only.
"""

import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tools.check import mutations
from tools.check.kill import KillTest
from tools.common.trial import CHECKPOINTS, COMMANDS, Failure, Trial, contents, difference
from tools.common.commands import output_of, parser
from tools.common.paths import MMQ, ROOT

PATIENCE = 60.0
NAMES = ["mutations", "faults", "files", "writers", "clock", "kills"]


@dataclass
class Row:
    """A line of the table: how often something was tried, and what came of it."""

    part: str
    what: str
    tried: int = 0
    results: dict[str, int] = field(default_factory=dict)

    def count(self, result: str) -> None:
        self.tried += 1
        self.results[result] = self.results.get(result, 0) + 1


@dataclass
class Result:
    code: int
    output: bytes
    errors: bytes
    seconds: float

    def expect_well(self, about: str, limit: float = PATIENCE) -> None:
        """It ended by itself, in time, and said nothing that a terminal obeys."""
        if self.code < 0:
            raise Failure(f"{about}: ended by {signal.Signals(-self.code).name}: {self.errors[-500:]!r}")
        if self.code not in (0, 1, 2):
            raise Failure(f"{about}: exit code {self.code}")
        if self.seconds > limit:
            raise Failure(f"{about}: took {self.seconds:.1f} s")
        said = self.output + self.errors
        if b"\x1b" in said or any(ch in said.decode(errors="replace") for ch in "\u009b\u202e\u2066"):
            raise Failure(f"{about}: a control character reached the terminal")
        if self.code and (not self.errors.strip() or len(self.errors) > 8000):
            raise Failure(f"{about}: exit code {self.code} with {len(self.errors)} bytes on stderr")
        if self.code and b"Fatal error" in self.errors:
            raise Failure(f"{about}: {self.errors[-500:]!r}")


class Torture(Trial):
    def __init__(self, options, arch: str, work: Path):
        super().__init__(options.mmq, arch, work, train=12, val=6)
        self.arch = arch
        self.options = options
        self.random = random.Random(options.seed)
        self.rows: list[Row] = []
        self.findings: list[str] = []
        self.library = work / "faults.so"
        clang = os.environ.get("CC") or str(Path(shutil.which("swift") or "/").resolve().parent / "clang")
        output_of([clang, "-O1", "-shared", "-fPIC", ROOT / "tools/check/faults/faults.c", "-o", self.library, "-ldl"])
        output_of([self.mmq, "convert", self.checkpoint, "--output", self.model, "--type", "q8_0"])
        self.bases: dict[str, Path | None] = {}
        self.make_bases()

    # --- running ------------------------------------------------------------------------------------

    def run(self, words, faults: dict[str, str] | None = None, meanwhile=None) -> Result:
        """Runs mmq; `meanwhile` is called with the process once it works."""
        environment = dict(os.environ)
        if faults is not None:
            environment |= faults | {"LD_PRELOAD": str(self.library)}
        start = time.monotonic()
        process = subprocess.Popen(
            [str(self.mmq), *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
        if meanwhile:
            meanwhile(process)
        try:
            output, errors = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise Failure(f"{words}: still running after {PATIENCE:.0f} s") from None
        return Result(process.returncode, output, errors, time.monotonic() - start)

    def trying(self, row: Row, about: str, attempt) -> None:
        """Counts what came of an attempt; a failure is a finding, and the campaign goes on."""
        try:
            row.count(attempt())
        except Failure as failure:
            row.count("FINDING")
            self.findings.append(f"{self.arch} {row.what}: {about}: {failure}")
            print(f"FINDING {self.findings[-1]}", flush=True)

    def row(self, part: str, what: str) -> Row:
        self.rows.append(Row(part, f"{what}, {self.arch}"))
        return self.rows[-1]

    def make_bases(self) -> None:
        """The study that each command starts from, and the one with everything in it."""
        base = None
        for command in COMMANDS[:-1]:
            start = None if command in ("convert", "activation") else base
            self.bases[command] = start
            if command == "convert":
                continue
            target = self.fresh(start)
            self.run([command, *self.arguments(command, target)]).expect_well(command)
            base = self.work / f"base-{command}"
            shutil.copy(target, base)
        self.full = base
        self.bases["import"] = None
        output_of([self.mmq, "export", "--study", self.full, "--output", self.work / "exported"])

    def writers(self) -> dict[str, tuple[Path | None, list[str]]]:
        """Every command that writes: what it starts from and its words; TARGET stands for what it writes."""
        found = {name: (self.bases[name], [name, *self.arguments(name, self.work / "target")]) for name in COMMANDS}
        model, target = ["--model", str(self.model)], str(self.work / "target")
        picture = ["--image", str(self.picture), "--prompt", "<image>\nWhat is this?"]
        found["trace"] = (None, ["trace", *model, *picture, "--output", target])
        found["logit-lens --image"] = (None, ["logit-lens", *model, *picture, "--output", target])
        found["report"] = (None, ["report", "--study", str(self.full), "--output", target, "--draws", "100"])
        found["export"] = (None, ["export", "--study", str(self.full), "--output", target])
        return found

    def content(self, name: str):
        """What a command left, but what holds the moment at which it was made."""
        target = self.work / "target"
        if not target.exists():
            return None
        if name == "report":
            return target.stat().st_size
        if target.is_dir() or name in ("activation", "identify", "generate", "logit-lens", "deviation", "import"):
            return contents(target)
        return target.read_bytes()

    # --- parts --------------------------------------------------------------------------------------

    def mutations(self) -> None:
        """Inputs changed by structure."""
        work, model = self.work, self.model
        picture = ["--image", str(self.picture), "--prompt", "<image>\nWhat is this?"]
        mask = work / "mask.json"
        shutil.copy(self.checkpoint.parent / "mask.json", mask)
        lens = work / "lens.json"
        output_of([self.mmq, "logit-lens", "--model", model, *picture, "--output", lens])
        answers = next((work / "exported").rglob("rs/none.jsonl"))
        trace = ["trace", "--model", model, "--output", work / "out"]
        convert = ["convert", self.checkpoint, "--output", work / "out", "--force"]
        report = ["report", "--study", self.full, "--output", work / "out", "--draws", "100"]
        counting = [
            "activation",
            "--model",
            model,
            "--bench",
            self.bench,
            "--domain",
            "rs,com",
            "--study",
            work / "out",
            "--samples",
            "2",
        ]
        inputs = []
        for file in sorted(self.checkpoint.rglob("*")):
            change = {".json": mutations.json_document, ".safetensors": mutations.safetensors}.get(file.suffix)
            if change and file.is_file():
                inputs.append((f"checkpoint {file.relative_to(self.checkpoint)}", file, change, convert))
        for file in sorted(model.glob("*.gguf")):
            inputs.append((file.name.split("-")[0] + " GGUF", file, mutations.gguf, trace + picture))
        for file in sorted(self.bench.rglob("*train*.json")):
            inputs.append((f"bench {file.name}", file, mutations.json_document, counting))
        inputs += [
            ("picture", self.picture, mutations.png, [*trace, *picture]),
            ("mask", mask, mutations.json_document, [*trace, *picture, "--mask", mask]),
            ("lens file", lens, mutations.json_document, [*report, "--lens", lens]),
            (
                "answers",
                answers,
                mutations.json_lines,
                ["evaluate", "--answers", answers, "--domain", "rs", "--draws", "100"],
            ),
        ]
        rounds = max(1, self.options.rounds)
        for name, file, change, words in inputs:
            row = self.row("mutations", name)
            clean(work / "out")
            if (unchanged := self.run(words)).code:
                raise Failure(f"{name}, unchanged: {unchanged.errors[-500:]!r}")
            # The files of the checkout are read only: a changed copy takes their place in the words.
            for number in range(rounds):

                def attempt(file=file, change=change, words=words):
                    data = change(file.read_bytes(), self.random)
                    clean(work / "out")
                    if file.is_relative_to(self.checkpoint):
                        folder = work / "changed"
                        shutil.rmtree(folder, ignore_errors=True)
                        shutil.copytree(self.checkpoint, folder)
                        (folder / file.relative_to(self.checkpoint)).write_bytes(data)
                        return self.verdict([folder if word == self.checkpoint else word for word in words], data)
                    if file == self.picture:
                        (work / "changed.png").write_bytes(data)
                        return self.verdict(
                            [work / "changed.png" if word == str(file) else word for word in words], data
                        )
                    whole = file.read_bytes()
                    file.write_bytes(data)
                    try:
                        return self.verdict(words, data)
                    finally:
                        file.write_bytes(whole)

                self.trying(row, f"round {number}", attempt)
        for words in (
            ["identify", "--model", model],
            ["evaluate", "--draws", "100"],
            ["report", "--output", work / "out"],
            ["export", "--output", work / "out-folder"],
            ["activation", *counting[1:5], "--domain", "rs,com"],
        ):
            row = self.row("mutations", f"study, {words[0]}")
            for number in range(rounds):

                def attempt(words=words):
                    study = self.fresh(self.full)
                    mutations.database(study, self.random)
                    clean(work / "out")
                    return self.verdict([*words, "--study", study], study.read_bytes())

                self.trying(row, f"round {number}", attempt)

    def verdict(self, words, data: bytes) -> str:
        """Runs it: taken or refused, and nothing half-written."""
        result = self.run(words)
        try:
            result.expect_well(str(words[0]), limit=20)
        except Failure:
            kept = Path(tempfile.gettempdir()) / f"torture-{os.getpid()}-{len(self.findings)}"
            kept.write_bytes(data)
            print(f"kept: {kept}", flush=True)
            raise
        return "taken" if result.code == 0 else "refused"

    def faults(self) -> None:
        """Every write failing, once and from then on."""
        for name, (base, words) in self.writers().items():
            row = self.row("faults", name)
            total = self.work / "total"
            self.fresh(base)
            self.run(words, {"MMQ_FAULT_TOTAL": str(total)}).expect_well(name)
            expected = self.content(name)
            count = int(total.read_text())
            chosen = sorted(
                set(range(1, min(count, 25) + 1))
                | set(range(max(1, count - 15), count + 1))
                | {round(1 + i * (count - 1) / max(1, self.options.writes - 1)) for i in range(self.options.writes)}
            )
            for at in chosen:
                for error, stays in ((28, False), (5, False), (28, True)):

                    def attempt(at=at, error=error, stays=stays, base=base, words=words, name=name, expected=expected):
                        self.fresh(base)
                        result = self.run(
                            words, {"MMQ_FAULT_AT": str(-at if stays else at), "MMQ_FAULT_ERRNO": str(error)}
                        )
                        result.expect_well(name)
                        if result.code == 0:
                            if self.content(name) != expected:
                                raise Failure("exit code 0, but the result is another")
                            return "no harm"
                        if result.code != 1:
                            raise Failure(f"exit code {result.code}: {result.errors[-300:]!r}")
                        if str(self.work).encode() not in result.errors:
                            raise Failure(f"names no file: {result.errors[-300:]!r}")
                        self.no_half(name, expected)
                        again = self.run(words)
                        if again.code != 0:
                            raise Failure(f"then exit code {again.code}: {again.errors[-300:]!r}")
                        if self.content(name) != expected:
                            found = self.content(name)
                            where = difference(expected, found) if isinstance(found, dict) else "the result"
                            raise Failure(f"after the run that followed, {where} is another")
                        return "error, then whole"

                    self.trying(row, f"call {at} of {count}, errno {error}{', stays' if stays else ''}", attempt)

    def no_half(self, name: str, expected) -> None:
        """Nothing under a final name but what is whole. Studies grow in place: SQLite answers for them."""
        target = self.work / "target"
        if not target.exists():
            return
        if target.is_dir():
            for file in target.rglob("*"):
                key = str(file.relative_to(target))
                if file.is_file() and file.suffix != ".partial" and contents(target)[key] != expected.get(key):
                    raise Failure(f"{key} is half-written")
        elif name in ("trace", "logit-lens --image", "report"):
            if self.content(name) != expected:
                raise Failure("half-written under its final name")

    def files(self) -> None:
        """Files shortened, removed, replaced under a run; folders and pipes in their place."""
        base, words = self.writers()["activation"]
        self.fresh(base)
        self.run(words).expect_well("activation")
        expected = self.content("activation")
        language = next(self.model.glob("language-*"))
        whole = language.read_bytes()
        study = self.work / "target"

        def shorten(process):
            with open(language, "r+b") as file:
                file.truncate(self.random.randrange(len(whole)))

        def replace_model(process):
            (self.work / "other").write_bytes(b"x" * len(whole))
            os.replace(self.work / "other", language)

        def remove_study(process):
            for path in self.work.glob("target*"):
                path.unlink(missing_ok=True)

        def replace_study(process):
            shutil.copy(self.full, self.work / "other")
            if study.exists():
                os.replace(self.work / "other", study)

        for what, harm, codes in (
            ("model shortened", shorten, (0, 1, 2)),
            ("model replaced", replace_model, (0, 2)),
            ("study removed", remove_study, (0, 1)),
            ("study replaced", replace_study, (0, 1, 2)),
        ):
            row = self.row("files", what)
            for number in range(self.options.rounds // 5 + 1):

                def attempt(harm=harm, codes=codes, what=what):
                    self.fresh(base)

                    def meanwhile(process):
                        time.sleep(self.random.random() * 0.25)
                        harm(process)

                    try:
                        result = self.run(words, meanwhile=meanwhile)
                        result.expect_well(what)
                        if result.code not in codes:
                            raise Failure(f"exit code {result.code}: {result.errors[-300:]!r}")
                        return f"exit code {result.code}"
                    finally:
                        language.unlink()
                        language.write_bytes(whole)

                self.trying(row, f"round {number}", attempt)
        row = self.row("files", "study after a shortened model")
        for number in range(self.options.rounds // 5 + 1):

            def attempt():
                self.fresh(base)

                def meanwhile(process):
                    time.sleep(self.random.random() * 0.2)
                    shorten(process)

                try:
                    self.run(words, meanwhile=meanwhile).expect_well("shortened")
                finally:
                    language.unlink()
                    language.write_bytes(whole)
                self.run(words).expect_well("after")
                if self.content("activation") != expected:
                    raise Failure("the study is another")
                return "same study"

            self.trying(row, f"round {number}", attempt)

    def two_writers(self) -> None:
        """Two processes on one study or output: one of them is told so, and the result is that of one."""
        for name in ("activation", "generate", "convert", "trace"):
            base, words = self.writers()[name]
            self.fresh(base)
            self.run(words).expect_well(name)
            expected = self.content(name)
            row = self.row("writers", name)
            for number in range(self.options.rounds // 5 + 1):

                def attempt(base=base, words=words, name=name, expected=expected):
                    self.fresh(base)
                    codes = []

                    def meanwhile(process):
                        time.sleep(self.random.random() * 0.1)
                        second = self.run(words)
                        second.expect_well("the second")
                        codes.append(second.code)

                    first = self.run(words, meanwhile=meanwhile)
                    first.expect_well("the first")
                    codes.append(first.code)
                    if 0 not in codes:
                        raise Failure(f"exit codes {codes}: {first.errors[-300:]!r}")
                    if self.content(name) != expected:
                        raise Failure("the result is another")
                    return "one refused" if any(codes) else "one after the other"

                self.trying(row, f"round {number}", attempt)

    def clock(self) -> None:
        """The time of day runs backwards: nothing but dates may depend on it."""
        for name, (base, words) in self.writers().items():
            if name == "report":
                continue
            row = self.row("clock", name)
            self.fresh(base)
            self.run(words).expect_well(name)
            expected = self.content(name)

            def attempt(base=base, words=words, name=name, expected=expected):
                self.fresh(base)
                result = self.run(words, {"MMQ_CLOCK_BACK": "3600"})
                result.expect_well(name)
                if result.code or self.content(name) != expected:
                    raise Failure(f"exit code {result.code}, or another result: {result.errors[-300:]!r}")
                return "same result"

            self.trying(row, "clock", attempt)

    def kills(self) -> None:
        """SIGKILL at random moments of every command that writes a study or a model."""
        each = max(1, self.options.kills // len(COMMANDS))
        with tempfile.TemporaryDirectory() as folder:
            test = KillTest(self.mmq, self.arch, Path(folder), self.options.seed)
            for command, rounds, kills in test.campaign(COMMANDS, each):
                row = self.row("kills", command)
                row.tried = kills
                row.results = {f"same result in {rounds} rounds": kills}


def clean(path: Path) -> None:
    """Removes whatever a command left there."""
    for entry in path.parent.glob(path.name + "*"):
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def main() -> int:
    given = parser(__doc__)
    given.add_argument("--only", default=",".join(NAMES))
    given.add_argument("--arch", default=",".join(CHECKPOINTS))
    given.add_argument("--rounds", type=int, default=300, help="changed inputs of each kind")
    given.add_argument(
        "--writes", type=int, default=60, help="writes of each command that fail, besides the first and last"
    )
    given.add_argument("--kills", type=int, default=500, help="kills of each model's commands, together")
    given.add_argument("--seed", type=int, default=1)
    given.add_argument("--mmq", type=Path, default=MMQ)
    options = given.parse_args()
    chosen = options.only.split(",")
    if unknown := set(chosen) - set(NAMES):
        given.error(f"unknown parts: {', '.join(sorted(unknown))}")
    rows, findings = [], []
    for arch in options.arch.split(","):
        with tempfile.TemporaryDirectory() as folder:
            torture = Torture(options, arch, Path(folder))
            for part in chosen:
                {"writers": torture.two_writers}.get(part, getattr(torture, part))()
            rows += torture.rows
            findings += torture.findings
    print("\n| part | what | tried | came out |\n|---|---|---|---|")
    for row in rows:
        results = ", ".join(f"{count} {result}" for result, count in sorted(row.results.items()))
        print(f"| {row.part} | {row.what} | {row.tried} | {results} |")
    for finding in findings:
        print(finding)
    return 1 if findings else 0
