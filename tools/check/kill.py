"""Kills commands of mmq at random moments, with SIGKILL, and runs them again until they are through.

What they leave must equal what an undisturbed run leaves: every table of the study, row by row, and
every byte of a converted model. Python's standard library only; nothing from outside the clone.

    python3 tools/check kill [--arch instructblip] [--commands activation,generate] [--kills 50] [--seed 1]
"""

import hashlib
import random
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from pathlib import Path

from tools.common.benches import write_rsvqa
from tools.common.commands import output_of, parser
from tools.common.paths import GOLDEN, MMQ

CHECKPOINTS = {"llava-next": "llava-next/hub-f16", "instructblip": "instructblip/hub-f32"}
COMMANDS = ["convert", "activation", "identify", "generate", "logit-lens", "deviation", "import"]


def write_bench(folder: Path, split: str, samples: int) -> None:
    """An RSVQA bench of many pictures, the twelve committed ones over and over, and VQAv2's few."""
    data = folder / "rs/Data"
    data.mkdir(parents=True, exist_ok=True)
    shutil.copytree(GOLDEN / "bench/vqav2", folder / "vqav2", dirs_exist_ok=True)
    for i in range(samples):
        shutil.copy(GOLDEN / f"bench/rs/Data/{i % 12}.png", data / f"{i}.png")
    questions = [
        {"id": i, "img_id": i, "type": "count", "answers_ids": [i], "active": True,
         "question": f"How many roads and buildings are in part {i} of the area?"}
        for i in range(samples)]
    answers = [{"id": i, "question_id": i, "answer": str(i % 4), "active": True} for i in range(samples)]
    images = [{"id": i, "original_name": f"{i}.tif", "questions_ids": [i], "active": True} for i in range(samples)]
    write_rsvqa(folder / "rs", split, questions, answers, images)


def contents(path: Path):
    """All that a study holds, or a folder: what two runs are compared by."""
    if path.is_dir():
        return {
            str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in sorted(path.rglob("*")) if file.is_file()}
    database = sqlite3.connect(path)
    database.row_factory = sqlite3.Row
    try:
        rows = {
            row["name"]: list(map(dict, database.execute(f'SELECT * FROM "{row["name"]}"')))
            for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    finally:
        database.close()
    # A row number is what SQLite happened to give: what it stands for is compared.
    named = {
        "answer_set": {row["id"]: (row["domain"], row["split"], row["setting"])
                       for row in rows["answer_set"]},
        "lens_pass": {row["id"]: (row["kind"], row["domain"], row["split"], row["setting"])
                      for row in rows["lens_pass"]},
        "pass": {row["id"]: (row["domain"], row["split"], row["form"]) for row in rows["pass"]},
    }
    for table, key, parent in [
            ("answer_set", "id", "answer_set"), ("answer", "answer_set", "answer_set"),
            ("lens_pass", "id", "lens_pass"), ("lens_sample", "pass", "lens_pass"),
            ("deviation_sample", "pass", "lens_pass"), ("pass", "id", "pass"),
            ("count", "pass", "pass")]:
        for row in rows[table]:
            row[key] = named[parent][row[key]]
    return {name: sorted(repr(tuple(row.values())) for row in table)
            for name, table in rows.items()}


def difference(expected, found) -> str:
    for key in sorted(set(expected) | set(found)):
        if expected.get(key) != found.get(key):
            return key
    return ""


class Failure(Exception):
    pass


class KillTest:
    def __init__(self, options, work: Path):
        self.mmq = options.mmq
        self.work = work
        self.random = random.Random(options.seed)
        self.checkpoint = GOLDEN / CHECKPOINTS[options.arch] / "checkpoint"
        self.model = work / "model"
        self.bench = work / "bench"
        write_bench(self.bench, "train", 300)
        write_bench(self.bench, "val", 40)
        self.lens_masks = "none,lang"

    def arguments(self, command: str, target: Path) -> list[str]:
        """The command that changes `target`: a study, or a model folder."""
        model = ["--model", str(self.model)]
        bench = ["--bench", str(self.bench), "--domain", "rs,com"]
        study = ["--study", str(target)]
        return {
            "convert": [str(self.checkpoint), "--output", str(target), "--type", "q4_0", "--force"],
            "activation": model + bench + study + ["--samples", "300"],
            "identify": model + study + [
                "--top-rate", ".2", "--filter-rate", ".5", "--activation-bar", ".5"],
            "generate": model + bench + study + ["--max-tokens", "16", "--samples", "40"],
            "logit-lens": model + bench + study + ["--samples", "100", "--masks", self.lens_masks],
            "deviation": model + bench + study + ["--samples", "60"],
            "import": study + [str(self.work / "exported")],
        }[command]

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

    def fresh(self, command: str, base: Path | None) -> Path:
        """What the command starts from: nothing, or the study of the commands before it."""
        target = self.work / "target"
        for path in self.work.glob("target*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if base is not None:
            shutil.copy(base, target)
        return target

    def check(self, command: str, base: Path | None, kills: int) -> tuple[int, int, object]:
        """Rounds of kills until there were `kills` of them: rounds, kills, the whole result."""
        target = self.fresh(command, base)
        start = time.monotonic()
        self.run(command, target)
        seconds = time.monotonic() - start
        expected = contents(target)
        whole = self.work / f"whole-{command}"
        shutil.copytree(target, whole) if target.is_dir() else shutil.copy(target, whole)
        done = rounds = 0
        while done < kills:
            target = self.fresh(command, base)
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
        test = KillTest(options, Path(folder))
        test.run("convert", test.model)
        base = None
        for command in COMMANDS:
            if command == "import":
                output_of([test.mmq, "export", "--study", base, "--output", f"{folder}/exported"])
            start = None if command in ("convert", "activation", "import") else base
            try:
                rounds, kills, whole = test.check(
                    command, start, options.kills if command in chosen else 0)
            except Failure as failure:
                print(failure)
                return 1
            if command in chosen:
                print(f"{command}: {kills} kills in {rounds} rounds, the same result", flush=True)
            if command not in ("convert", "import"):
                base = whole
    return 0

