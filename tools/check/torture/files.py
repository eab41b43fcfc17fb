"""Model and study shortened, removed, replaced while a run counts."""

import os
import shutil
import time

from tools.check.torture.attempts import Row, Torture
from tools.check.writers import NEW
from tools.common.trial import Failure

COMMAND = "activation"
# What is done, and the exit codes that are right then.
HARMS = {
    "model shortened": (0, 1, 2),
    "model replaced": (0, 2),
    "study removed": (0, 1),
    "study replaced": (0, 1, 2),
}


def names(arch: str) -> list[str]:
    return list(HARMS)


def run(torture: Torture, row: Row) -> None:
    torture.expected(COMMAND, NEW)
    language = next(torture.model.glob("language-*"))
    whole = language.read_bytes()
    for number in range(torture.options.rounds // 5 + 1):

        def attempt() -> str:
            torture.begin(COMMAND, NEW)

            def meanwhile(process) -> None:
                time.sleep(torture.random.random() * 0.25)
                harm(torture, row.what, language)

            try:
                result = torture.run(torture.words(COMMAND), meanwhile=meanwhile)
            finally:
                # A new file: the old one may be mapped.
                language.unlink()
                language.write_bytes(whole)
            result.expect_well()
            if result.code not in HARMS[row.what]:
                raise Failure(result.says)
            if row.what == "study replaced":
                return f"exit code {result.code}"
            # The other file of that name was none of this study's: it goes on from what was committed.
            if row.what != "study removed":
                torture.look(COMMAND, NEW)
            torture.run_to_end(COMMAND, NEW)
            return f"exit code {result.code}, then whole"

        row.attempt(f"round {number}", attempt)


def harm(torture: Torture, what: str, language) -> None:
    other = torture.work / "other"
    if what == "model shortened":
        with language.open("r+b") as file:
            file.truncate(torture.random.randrange(language.stat().st_size))
    elif what == "model replaced":
        other.write_bytes(b"x" * language.stat().st_size)
        os.replace(other, language)
    elif what == "study removed":
        for path in torture.work.glob("target*"):
            path.unlink(missing_ok=True)
    else:
        shutil.copy(torture.full, other)
        if torture.target.exists():
            os.replace(other, torture.target)
