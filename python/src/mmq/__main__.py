"""`python -m mmq`: the program mmq, and what it leaves to Python, `export --format parquet`."""

import argparse
import json
import os
import sys
from typing import List

from ._binary import find_binary
from ._commands import Progress
from ._errors import MmqError
from ._export import write_parquet


def main(words: List[str]) -> int:
    """Does what a command line says; gives the exit code."""
    # Words that `mmq export` knows better are left to it.
    parser = argparse.ArgumentParser(prog="python -m mmq export", add_help=False, allow_abbrev=False)
    parser.add_argument("--format")
    parser.add_argument("--output")
    parser.add_argument("--json", action="store_true")
    given, others = parser.parse_known_args(words[1:])
    try:
        if words[:1] != ["export"] or given.format != "parquet":
            program = find_binary()
            os.execv(program, [program, *words])
        if given.output is None:
            raise MmqError("export: --output is missing")
        files = write_parquet(others, given.output, _note, None, {})
    except MmqError as error:
        print(f"mmq: {error}", file=sys.stderr)
        return 2
    print(json.dumps({"files": files}, indent=2) if given.json else "\n".join(files))
    return 0


def _note(line: Progress) -> None:
    print(line.text, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
