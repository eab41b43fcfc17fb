"""Folders, pipes, devices and links where a command reads or writes a file."""

import os
import shutil
import stat
from pathlib import Path

from tools.check.torture.attempts import Row, Torture
from tools.check.torture.inputs import BENCH, find
from tools.check.writers import NEW, WRITERS, Form, clean
from tools.common.trial import Failure

# A command that is stuck on a pipe must not be waited for as long as one that works.
AT_ONCE = 30.0


def names(arch: str) -> list[str]:
    return [*WRITERS, "what is read"]


def run(torture: Torture, row: Row) -> None:
    if row.what == "what is read":
        return read(torture, row)
    form = WRITERS[row.what]
    for what, make in {
        "a pipe": lambda target: os.mkfifo(target),
        "a folder": lambda target: (target.mkdir(), (target / "kept").write_text("kept")),
        "a link to itself": lambda target: target.symlink_to(target),
        "a link to a device": lambda target: target.symlink_to("/dev/full"),
        "a file that is none of its own": lambda target: target.write_text("something else\n"),
    }.items():
        # These are where the command may write.
        if (what == "a folder" and form is Form.FOLDER) or (what[:6] == "a file" and form is Form.FILE):
            continue
        # A merge puts its study in the place of a link.
        if what == "a link to itself" and form is Form.STUDY:
            continue
        row.attempt(what, lambda what=what, make=make: refused(torture, row.what, make))
    row.attempt("no such folder", lambda: unmade(torture, row.what, "nowhere/target"))
    row.attempt("in a file", lambda: unmade(torture, row.what, "a-file/target"))
    if form in (Form.FILE, Form.STUDY, Form.GROWS):
        row.attempt("a link to a file", lambda: linked(torture, row.what))


def state(path: Path):
    """What lies there, without reading from what is no file."""
    if not os.path.lexists(path):
        return ("nothing",)
    info = os.lstat(path)
    if stat.S_ISLNK(info.st_mode):
        return "link", os.readlink(path)
    if stat.S_ISDIR(info.st_mode):
        return "folder", sorted((entry.name, entry.read_bytes()) for entry in path.iterdir())
    return stat.S_IFMT(info.st_mode), path.read_bytes() if stat.S_ISREG(info.st_mode) else b""


def refused(torture: Torture, name: str, make) -> str:
    """The command says that it cannot write there, and leaves it as it was."""
    torture.expected(name, NEW)
    torture.fresh(None)
    make(torture.target)
    before = state(torture.target)
    result = torture.run(torture.words(name))
    try:
        result.expect_well(AT_ONCE)
        if result.code not in (1, 2):
            raise Failure(result.says)
        if state(torture.target) != before:
            raise Failure(f"what lay there is now {state(torture.target)[0]}; {result.says}")
        if left := torture.beside(name):
            raise Failure(f"left {', '.join(left)}")
    finally:
        clean(torture.target)
    return "refused"


def unmade(torture: Torture, name: str, place: str) -> str:
    """A folder is made where it can be, or the command says that it cannot write there."""
    (torture.work / "a-file").write_text("a file")
    shutil.rmtree(torture.work / "nowhere", ignore_errors=True)
    target = torture.work / place
    result = torture.run(torture.words(name, target))
    result.expect_well(AT_ONCE)
    if (torture.work / "a-file").read_text() != "a file":
        raise Failure("a file that is in the way was changed")
    if result.code == 0:
        if not target.exists():
            raise Failure("exit code 0, and nothing is there")
        return "made"
    if str(target.parent).encode() not in result.errors:
        raise Failure(f"names no file: {result.says}")
    if target.exists():
        raise Failure(f"{result.says}, and something is there")
    return "refused"


def linked(torture: Torture, name: str) -> str:
    """What a link names is written, and the link stays one."""
    torture.expected(name, NEW)
    torture.begin(name, NEW)
    real = torture.work / "real"
    clean(real)
    if torture.target.exists():
        os.replace(torture.target, real)
    elif WRITERS[name] is Form.FILE:
        real.write_text("an older file\n")
    torture.target.symlink_to(real)
    result = torture.run(torture.words(name))
    result.expect_well()
    if result.code:
        # SQLite makes no file through a link.
        if real.exists() or not torture.target.is_symlink():
            raise Failure(f"{result.says}, and the link is {'there' if torture.target.is_symlink() else 'gone'}")
        return "refused"
    torture.compare(name, NEW)
    return "followed" if torture.target.is_symlink() else "replaced"


def read(torture: Torture, row: Row) -> None:
    """Folders, pipes and devices in place of what commands read."""
    torture.fresh(None)
    trace = torture.words("trace")
    files = {
        "the picture": (torture.picture, trace),
        "a mask": (torture.work / "mask.json", [*trace, "--mask", torture.work / "mask.json"]),
        "a study": (torture.full, torture.words("report")),
        "a shard": (torture.shards[0], torture.words("merge")),
        "an importance file": (torture.old("calibrate"), [*torture.words("convert"), "--importance",
                                                          torture.old("calibrate")]),
        "answers": (torture.work / "answers.jsonl",
                    ["evaluate", "--answers", torture.work / "answers.jsonl", "--domain", "rs"]),
    }
    for file in [*sorted(torture.model.iterdir()), *(find(torture, f"bench {name}").file for name in BENCH)]:
        files[f"{file.name} of the {'model' if file.parent == torture.model else 'bench'}"] = (
            file, trace if file.parent == torture.model else torture.words("activation"))
    for what, (file, words) in files.items():
        for kind in ("pipe", "folder", "/dev/zero", "nothing"):
            row.attempt(f"{what}: {kind}", lambda file=file, words=words, kind=kind: unread(torture, file, words, kind))


def unread(torture: Torture, file: Path, words: list, kind: str) -> str:
    """A command refuses what is no file in place of one, and writes nothing."""
    other = torture.work / "in-its-place"
    clean(other)
    # The files of the checkout stay where they are: the words name another path.
    words = [other if str(word) == str(file) else word for word in words]
    inside = file.is_relative_to(torture.work) and other not in words
    place = file if inside else other
    aside = torture.work / "put-aside"
    if inside:
        os.replace(file, aside)
    try:
        if kind == "pipe":
            os.mkfifo(place)
        elif kind == "folder":
            place.mkdir()
        elif kind != "nothing":
            place.symlink_to(kind)
        torture.fresh(None)
        result = torture.run(words)
        result.expect_well(AT_ONCE)
        if result.code == 0:
            raise Failure("taken")
        if torture.target.is_file():
            torture.look_at_study(torture.target, {}, {})
        return "refused"
    finally:
        shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink(missing_ok=True)
        if inside:
            os.replace(aside, file)
