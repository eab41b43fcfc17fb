"""Files changed by structure, which must be read or refused."""

import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tools.check.torture import mutations
from tools.check.torture.attempts import Row, Torture
from tools.check.writers import PROMPT
from tools.common.commands import output_of
from tools.common.families import CHECKPOINTS
from tools.common.paths import GOLDEN
from tools.common.trial import Failure

# Samples of the bench's splits.
SIZE = (6, 2)
# Seconds that a changed file may take.
LIMIT = 20.0
STUDY_COMMANDS = ["identify", "evaluate", "report", "export", "activation", "status", "merge"]
# What mmq reads of the bench's annotations.
BENCH = [
    "USGS_split_train_answers.json", "USGS_split_train_questions.json",
    "v2_OpenEnded_mscoco_train2014_questions.json", "v2_mscoco_train2014_annotations.json",
]


@dataclass
class Input:
    """A file that is changed, and the command that reads it.

    inside: the folder that the words name, if it is not the file itself.
    """

    file: Path
    change: Callable[[bytes, random.Random], bytes]
    words: list
    inside: Path | None = None


def checkpoint_files(arch: str) -> dict[str, Path]:
    """The files of the checkpoint that are changed, by their names in it."""
    folder = GOLDEN / CHECKPOINTS[arch] / "checkpoint"
    return {
        str(file.relative_to(folder)): file
        for file in sorted(folder.rglob("*")) if file.suffix in (".json", ".safetensors")}


def names(arch: str) -> list[str]:
    return [
        *(f"checkpoint {name}" for name in checkpoint_files(arch)), "language GGUF", "vision GGUF", "importance file",
        *(f"bench {name}" for name in BENCH), "picture", "mask", "lens file", "answers",
        *(f"study, {name}" for name in STUDY_COMMANDS)]


def find(torture: Torture, name: str) -> Input:
    """An input of this name, which is laid down if it is not there."""
    work, words = torture.work, torture.words
    kind, _, rest = name.partition(" ")
    if kind == "checkpoint":
        file = checkpoint_files(torture.arch)[rest]
        change = mutations.json_document if file.suffix == ".json" else mutations.safetensors
        return Input(file, change, words("convert"), torture.checkpoint)
    if rest == "GGUF":
        return Input(next(torture.model.glob(f"{kind}-*.gguf")), mutations.gguf, words("trace"), torture.model)
    if kind == "bench":
        return Input(next(torture.bench.rglob(rest)), mutations.json_document, words("activation"), torture.bench)
    if kind == "importance":
        file = torture.old("calibrate")
        return Input(file, mutations.gguf, [*words("convert"), "--importance", file])
    if kind == "picture":
        return Input(torture.picture, mutations.png, words("trace"))
    if kind == "mask":
        return Input(torture.checkpoint.parent / "mask.json", mutations.json_document,
                     [*words("trace"), "--mask", torture.checkpoint.parent / "mask.json"])
    if kind == "lens":
        file = work / "lens.json"
        output_of([torture.mmq, "logit-lens", "--model", torture.model, "--image", torture.picture, "--prompt", PROMPT,
                   "--output", file])
        return Input(file, mutations.json_document, [*words("report"), "--lens", file])
    file = next(torture.exported.rglob("rs/none.jsonl"))
    return Input(file, mutations.json_lines, ["evaluate", "--answers", file, "--domain", "rs", "--draws", "100"])


def run(torture: Torture, row: Row) -> None:
    if row.what.startswith("study, "):
        return run_study(torture, row)
    given = find(torture, row.what)
    torture.fresh(None)
    unchanged = torture.run(given.words)
    if unchanged.code:
        raise Failure(f"unchanged: {unchanged.says}")
    look(torture, given.words, unchanged.code)
    # What is changed is a copy: the checkout's files are read only, and mapped ones stay whole.
    root = given.inside or given.file
    copy = torture.work / f"changed{root.suffix}"
    for number in range(torture.options.rounds):

        def attempt() -> str:
            remove(copy)
            shutil.copytree(root, copy) if root.is_dir() else shutil.copy(root, copy)
            changed = copy / given.file.relative_to(root) if root.is_dir() else copy
            changed.write_bytes(given.change(given.file.read_bytes(), torture.random))
            words = [copy if str(word) == str(root) else word for word in given.words]
            torture.fresh(None)
            return verdict(torture, words, changed)

        row.attempt(f"round {number}", attempt)


def run_study(torture: Torture, row: Row) -> None:
    """A study or a shard changed in a row, a column or a table."""
    name = row.what.removeprefix("study, ")
    study = torture.work / "changed.sqlite"
    words = {
        "identify": ["identify", "--model", torture.model, "--study", study],
        "evaluate": ["evaluate", "--draws", "100", "--study", study],
        "report": ["report", "--study", study, "--draws", "100", "--output", torture.target],
        "export": ["export", "--study", study, "--output", torture.target],
        "activation": torture.words("activation", study),
        "status": ["status", study],
        "merge": ["merge", study, torture.shards[1], "--output", torture.target],
    }[name]
    whole = torture.shards[0] if name == "merge" else torture.full
    for number in range(torture.options.rounds):

        def attempt() -> str:
            for suffix in ("-wal", "-shm", "-journal", ".lock"):
                study.with_name(study.name + suffix).unlink(missing_ok=True)
            shutil.copy(whole, study)
            mutations.database(study, torture.random)
            kept = torture.work / "changed-before"
            shutil.copy(study, kept)
            torture.fresh(None)
            return verdict(torture, words, kept)

        row.attempt(f"round {number}", attempt)


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def verdict(torture: Torture, words: list, changed: Path) -> str:
    """Runs it: taken or refused, and nothing half-written. The input of a finding is kept."""
    result = torture.run(words)
    try:
        result.expect_well(LIMIT)
        look(torture, words, result.code)
    except Failure as failure:
        descriptor, kept = tempfile.mkstemp(prefix="torture-", suffix=changed.suffix)
        os.close(descriptor)
        shutil.copy(changed, kept)
        raise Failure(f"{failure} (input: {kept}; {' '.join(map(str, words))})") from None
    return "taken" if result.code == 0 else "refused"


def look(torture: Torture, words: list, code: int) -> None:
    """What the command left under its output's name: of a refused input nothing, or a study as far as it came; of one
    that was taken something that can be read.

    Raises: Failure.
    """
    target, command = torture.target, str(words[0])
    if left := [path.name for path in torture.work.glob("target?*")]:
        raise Failure(f"exit code {code}, and {', '.join(left)} is left")
    if str(target) not in map(str, words):
        return
    if not target.exists():
        if code == 0:
            raise Failure("exit code 0, and nothing is there")
        return
    if command in ("activation", "merge"):
        torture.look_at_study(target, {}, {})
    elif command == "export":
        look_at_export(target)
    elif code:
        raise Failure(f"exit code {code}, and {target.name} is there")
    elif command == "report":
        if not target.read_bytes().rstrip().endswith(b"</html>"):
            raise Failure("a page without its end")
    else:
        # `inspect` goes by the end of the name.
        named = torture.work / "taken.safetensors"
        named.unlink(missing_ok=True)
        if target.is_file():
            named.symlink_to(target)
        read = torture.run(["inspect", target if target.is_dir() else named])
        read.expect_well()
        if read.code:
            raise Failure(f"taken, and what was written cannot be read: {read.says}")


def look_at_export(folder: Path) -> None:
    """Files that come one after the other; those that are there are whole, whatever became of the next.

    Raises: Failure.
    """
    for file in folder.rglob("*"):
        try:
            if file.suffix == ".json":
                json.loads(file.read_bytes())
            elif file.suffix == ".jsonl":
                for line in file.read_bytes().splitlines():
                    json.loads(line)
            elif file.suffix == ".partial":
                raise ValueError("left")
        except ValueError as error:
            raise Failure(f"{file.relative_to(folder)}: {error}") from None
