"""A tiny model and a bench of its own for commands to work on, and how what two runs left is compared."""

import hashlib
import shutil
import sqlite3
from pathlib import Path

from tools.common.benches import write_rsvqa
from tools.common.families import CHECKPOINTS
from tools.common.paths import GOLDEN


class Failure(Exception):
    """A command did what no command may do."""


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
    """All that a study holds, or a folder: what two runs are compared by.

    Raises: Failure if SQLite cannot read the study.
    """
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
    except sqlite3.DatabaseError as error:
        raise Failure(f"{path.name} is no whole study: {error}") from None
    finally:
        database.close()
    # A row number is what SQLite happened to give: what it stands for is compared.
    named = {
        "answer_set": {row["id"]: (row["domain"], row["split"], row["setting"])
                       for row in rows.get("answer_set", [])},
        "lens_pass": {row["id"]: (row["kind"], row["domain"], row["split"], row["setting"])
                      for row in rows.get("lens_pass", [])},
        "pass": {row["id"]: (row["domain"], row["split"], row["form"]) for row in rows.get("pass", [])},
        "identification": {row["id"]: (row["name"], row["module"]) for row in rows.get("identification", [])},
    }
    for table, key, parent in [
            ("answer_set", "id", "answer_set"), ("answer", "answer_set", "answer_set"),
            ("identification", "id", "identification"), ("neuron_set", "identification", "identification"),
            ("lens_pass", "id", "lens_pass"), ("lens_sample", "pass", "lens_pass"),
            ("deviation_sample", "pass", "lens_pass"), ("pass", "id", "pass"),
            ("count", "pass", "pass"), ("block", "pass", "pass"), ("block_count", "pass", "pass"),
            ("activation_sum", "pass", "pass"), ("moment", "pass", "pass")]:
        for row in rows.get(table, []):
            row[key] = named[parent][row[key]]
    return {name: sorted(repr(tuple(row.values())) for row in table)
            for name, table in rows.items()}


def difference(expected, found) -> str:
    for key in sorted(set(expected) | set(found)):
        if expected.get(key) != found.get(key):
            return key
    return ""


class Trial:
    """A folder with a checkpoint's model and a bench.

    mmq: the program; work: a folder to work in; train, val: samples of the bench's splits.
    """

    def __init__(self, mmq: Path, arch: str, work: Path, train: int = 300, val: int = 40):
        self.mmq = mmq
        self.work = work
        self.checkpoint = GOLDEN / CHECKPOINTS[arch] / "checkpoint"
        self.picture = GOLDEN / arch / "images/small.png"
        self.model = work / "model"
        self.bench = work / "bench"
        self.domains = "rs,com"
        self.train, self.val = train, val
        write_bench(self.bench, "train", train)
        write_bench(self.bench, "val", val)

    def arguments(self, command: str, target: Path) -> list[str]:
        """The command that changes `target`: a study, or a model folder."""
        model = ["--model", str(self.model)]
        bench = ["--bench", str(self.bench), "--domain", self.domains]
        study = ["--study", str(target)]
        return {
            "convert": [str(self.checkpoint), "--output", str(target), "--type", "q4_0", "--force"],
            "activation": model + bench + study + ["--samples", str(self.train)],
            "identify": model + study + [
                "--top-rate", ".2", "--filter-rate", ".5", "--activation-bar", ".5"],
            "generate": model + bench + study + ["--max-tokens", "16", "--samples", str(self.val)],
            "logit-lens": model + bench + study + [
                "--samples", str(max(1, self.train // 3)), "--masks", "none,lang"],
            "deviation": model + bench + study + ["--samples", str(max(1, self.train // 5))],
            "import": study + [str(self.work / "exported")],
        }[command]

    def fresh(self, base: Path | None) -> Path:
        """What a command starts from: nothing, or a copy of the study of the commands before it."""
        target = self.work / "target"
        for path in self.work.glob("target*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if base is not None:
            shutil.copy(base, target)
        return target
