"""Every command that writes, what it starts from, and what may lie under its target's name at any moment: what `kill`
and `torture` hold commands to."""

import hashlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
from enum import Enum
from pathlib import Path

from tools.common.commands import output_of
from tools.common.paths import DEMO
from tools.common.trial import Failure, Trial, contents, difference


class Form(Enum):
    """How a command's output comes to be."""

    GROWS = "a study that grows in place, a transaction at a time"
    STUDY = "a study that appears whole"
    FILE = "a file that appears whole"
    STEPS = "a file that is replaced, whole, again and again"
    FOLDER = "a folder of files, each of which appears whole"
    SERIES = "a folder of files that fill up one after the other, each of which appears whole"


# In the order in which each builds on what those before it left.
WRITERS = {
    "convert": Form.FOLDER,
    "convert --type f16": Form.FOLDER,
    "calibrate": Form.STEPS,
    "round": Form.FOLDER,
    "trace": Form.FILE,
    "logit-lens --image": Form.FILE,
    "activation": Form.GROWS,
    "activations": Form.SERIES,
    "identify": Form.GROWS,
    "generate": Form.GROWS,
    "generate --masks": Form.GROWS,
    "logit-lens": Form.GROWS,
    "deviation": Form.GROWS,
    "export": Form.FOLDER,
    "import": Form.GROWS,
    "report": Form.FILE,
    "merge": Form.STUDY,
}
GROWING = ["activation", "identify", "generate", "logit-lens", "deviation"]
PROMPT = "<image>\nWhat is this?"
# Rows that are never changed once they are there.
FINAL = ["answer", "lens_sample", "deviation_sample"]
# What may lie beside a target while a command works, or after it was killed.
BESIDE = {
    Form.GROWS: {"-wal", "-shm", "-journal", ".lock"},
    Form.STUDY: {
        "-wal", "-shm", "-journal", ".lock", ".merging", ".merging-wal", ".merging-shm", ".merging-journal",
        ".merging.lock"},
    Form.FILE: {".partial"},
    Form.STEPS: {".partial", ".lock"},
    Form.FOLDER: set(),
    Form.SERIES: set(),
}
NEW, OLD = "new", "over an older one"
# Threads that wait without working: several commands run side by side.
ENVIRONMENT = os.environ | {"OMP_WAIT_POLICY": "passive"}


def clean(path: Path) -> None:
    """Removes whatever a command left there, and beside it."""
    for entry in path.parent.glob(path.name + "*"):
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()


class Writers(Trial):
    """The commands on a model and a bench, each on `target`, with an undisturbed run of each to compare with.

    mmq: the program; work: a folder to work in; train, val: samples of the bench's splits.
    Raises: Failure if a command does not even work undisturbed.
    """

    def __init__(self, mmq: Path, arch: str, work: Path, train: int, val: int):
        super().__init__(mmq, arch, work, train, val)
        self.target = work / "target"
        self.exported = work / "exported"
        self.shards = [work / "part-1", work / "part-2"]
        self.unrounded = work / "model-f16"
        self.known: dict[tuple[str, str], dict] = {}
        output_of([mmq, "convert", self.checkpoint, "--output", self.model, "--type", "q8_0"])
        output_of([mmq, "convert", self.checkpoint, "--output", self.unrounded, "--type", "f16"])
        self.bases: dict[str, Path | None] = dict.fromkeys(WRITERS)
        base = None
        self.full = work / f"base-{GROWING[-1]}"
        self.bases["generate --masks"] = work / "base-identify"
        for name in GROWING:
            self.bases[name] = base
            self.fresh(base)
            output_of([mmq, *self.words(name)])
            base = work / f"base-{name}"
            shutil.copy(self.target, base)
        output_of([mmq, "export", "--study", self.full, "--output", self.exported])
        for number, shard in enumerate(self.shards, 1):
            output_of([mmq, *self.words("activation", shard), "--shard", f"{number}/{len(self.shards)}"])

    def words(self, name: str, target: Path | None = None) -> list[str]:
        """The command, writing to `target`."""
        target = target or self.target
        model, output = ["--model", str(self.model)], ["--output", str(target)]
        picture = ["--image", str(self.picture), "--prompt", PROMPT]
        bench = ["--bench", str(self.bench), "--domain", self.domains]
        more = {
            # The demo's model, whose file is long enough for pages of 2 MB.
            "convert --type f16": [
                "convert", str(DEMO / "llava-next"), "--type", "f16", "--force", *output],
            # Every set on every bench, and controls: many settings of a domain.
            "generate --masks": [
                "generate", *self.arguments("generate", target), "--masks", "matrix,random*20", "--samples", "12"],
            "calibrate": ["calibrate", *model, *bench, "--samples", "6", *output],
            "round": [
                "round", "--model", str(self.unrounded), *bench, "--samples", "2", "--force", *output],
            # So small that files end in the middle of samples, and many at once.
            "activations": ["activations", *model, *bench, "--sites", "mlp", "--samples", str(max(2, self.train // 6)),
                            "--file-size", "64kB", *output],
            "trace": ["trace", *model, *picture, *output],
            "logit-lens --image": ["logit-lens", *model, *picture, *output],
            "export": ["export", "--study", str(self.full), *output],
            "report": ["report", "--study", str(self.full), "--draws", "100", *output],
            "merge": ["merge", *map(str, self.shards), *output],
        }
        return more.get(name) or [name, *self.arguments(name, target)]

    # --- what a command starts from -----------------------------------------------------------------

    def starts(self, name: str) -> list[str]:
        """On what it is tried: a new target, and an older output in its place."""
        return [NEW] if WRITERS[name] is Form.GROWS else [NEW, OLD]

    def begin(self, name: str, start: str) -> None:
        """Lays the target down as it is before the command."""
        old = self.old(name) if start == OLD else None
        self.fresh(self.bases[name])
        if old:
            shutil.copytree(old, self.target) if old.is_dir() else shutil.copy(old, self.target)

    def old(self, name: str) -> Path:
        """An earlier output: of a part of the work where the command goes by it, else another of the same name."""
        old = self.work / f"old-{name.replace(' ', '-')}"
        if old.exists():
            return old
        if name == "calibrate":
            words = self.words(name, old)
            words[words.index("--domain") + 1] = self.domains.split(",")[0]
            output_of([self.mmq, *words])
        elif name == "activations":
            words = self.words(name, old)
            words[words.index("--samples") + 1] = "2"
            output_of([self.mmq, *words])
        elif name == "merge":
            output_of([self.mmq, "merge", self.shards[0], "--partial", "--output", old])
        elif WRITERS[name] is Form.FOLDER:
            for file in self.expected(name, NEW):
                (old / file).parent.mkdir(parents=True, exist_ok=True)
                (old / file).write_text(f"an older {file}\n")
        else:
            old.write_text("an older file\n")
        return old

    def expected(self, name: str, start: str) -> dict:
        """What an undisturbed run leaves."""
        if (name, start) not in self.known:
            self.begin(name, start)
            output_of([self.mmq, *self.words(name)])
            self.known[name, start] = self.content(name)
        return self.known[name, start]

    # --- what it left -------------------------------------------------------------------------------

    def content(self, name: str, target: Path | None = None) -> dict | None:
        """What lies there, by table or file, but for the moment at which a report was made."""
        target = target or self.target
        if not target.exists():
            return None
        if target.is_dir() or WRITERS[name] in (Form.GROWS, Form.STUDY):
            return contents(target)
        data = target.read_bytes()
        if name == "report":
            data = re.sub(rb"<dd>\d{4}-\d\d-\d\dT[\d:]+Z", b"", data)
        return {name: hashlib.sha256(data).hexdigest()}

    def compare(self, name: str, start: str) -> None:
        """What a command that came to its end left must be what an undisturbed one does.

        Raises: Failure.
        """
        expected, found = self.expected(name, start), self.content(name)
        if found is None:
            raise Failure("exit code 0, and nothing is there")
        if found != expected:
            raise Failure(f"{difference(expected, found)} differs from that of an undisturbed run")
        if left := self.beside(name):
            raise Failure(f"exit code 0, and {', '.join(left)} is left")

    def look(self, name: str, start: str) -> list[str]:
        """What a command that was killed or that failed left: nothing half-written under a final name, nothing lost
        that was there before. Gives back what lies beside it.

        Raises: Failure.
        """
        form = WRITERS[name]
        expected = self.expected(name, start)
        left = self.beside(name)
        if not self.target.exists():
            if start == OLD:
                raise Failure("the older output is gone")
        elif form is Form.GROWS:
            self.look_at_study(self.target, expected, contents(self.bases[name]) if self.bases[name] else {})
        elif form in (Form.FOLDER, Form.SERIES):
            # How far a series has come is written anew again and again; layers of a rounding go when the last is done.
            found = {file: digest for file, digest in contents(self.target).items()
                     if not file.endswith((".partial", ".part", "progress.json"))}
            for file in self.target.rglob("progress.json"):
                self.check_json(file)
            old = contents(self.old(name)) if start == OLD else {}
            for file in sorted((set(found) | set(old)) - {file for file in old if file.endswith("progress.json")}):
                if found.get(file) not in (expected.get(file, ""), old.get(file, "")):
                    raise Failure(f"{file} is {'half-written' if file in found else 'gone'}")
        else:
            allowed = [expected]
            if start == OLD or form is Form.STEPS:
                allowed.append(self.content(name, self.old(name)))
            if self.content(name) not in allowed:
                raise Failure("what lies there is neither the older output nor the whole new one")
        return left

    def check_json(self, file: Path) -> None:
        """Raises: Failure if it is no JSON."""
        try:
            json.loads(file.read_text())
        except ValueError as error:
            raise Failure(f"{file.name} is half-written: {error}") from None

    def beside(self, name: str) -> list[str]:
        """The names of what lies beside the target, or half-written in it.

        Raises: Failure if there is something that no command should make.
        """
        names = [path.name.removeprefix("target") for path in self.work.glob("target*")]
        left = sorted(set(names) - {""})
        if strange := set(left) - BESIDE[WRITERS[name]]:
            raise Failure(f"left {', '.join(sorted(strange))} beside its output")
        if self.target.is_dir():
            left += sorted({file.suffix for file in self.target.rglob("*.partial")})
        return left

    def look_at_study(self, study: Path, expected: dict, before: dict) -> None:
        """A study that was left at any moment: SQLite finds it whole, mmq reads it, what was there before and is not to
        change is there, and every answer or sample that it holds is one of an undisturbed run's."""
        copy = self.work / "looked-at"
        clean(copy)
        for suffix in ("", "-wal", "-journal"):
            if study.with_name(study.name + suffix).exists():
                shutil.copy(study.with_name(study.name + suffix), copy.with_name(copy.name + suffix))
        if not self.check_database(copy):
            if before:
                raise Failure("the study is empty")
            return
        found = contents(copy)
        for table, rows in expected.items():
            there = set(found.get(table, []))
            if lost := (set(before.get(table, [])) & set(rows)) - there:
                raise Failure(f"{len(lost)} rows of {table} are lost")
            if table in FINAL and (other := there - set(rows) - set(before.get(table, []))):
                raise Failure(f"{len(other)} rows of {table} are none that an undisturbed run stores")
        status = subprocess.run([self.mmq, "status", copy], capture_output=True, text=True)
        if status.returncode:
            raise Failure(f"mmq status cannot read it: {status.stderr[-500:]}")

    def check_database(self, path: Path) -> bool:
        """Whether there are tables; SQLite must find them whole."""
        try:
            database = sqlite3.connect(path)
            try:
                said = [row[0] for row in database.execute("PRAGMA integrity_check")]
                orphans = list(database.execute("PRAGMA foreign_key_check"))
                names = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            finally:
                database.close()
        except sqlite3.DatabaseError as error:
            raise Failure(f"half-written under its final name: {error}") from None
        if said != ["ok"] or orphans:
            raise Failure(f"half-written under its final name: {said[:3]}, {len(orphans)} orphans")
        return bool(names - {"grdb_migrations"})
