"""A long campaign against mmq, over the tiny models of all families:

    inputs   files changed by structure, which must be read or refused
    faults   every call that writes fails once, and of every fourth all that follow too (a full disk)
    kills    SIGKILL at random moments, and at calls that write
    places   folders, pipes and links where a command reads or writes
    session  every call that writes in a session of three requests fails
    files    model and study shortened, removed, replaced under a run
    writers  two processes on one output
    clock    a time of day that runs back

    python3 tools/check torture [--only faults,kills] [--kills 1000] [--jobs 2] [--journal FILE]

Nothing may crash, hang, leave something half-written under a final name, lose what was there before, or end in another
result than an undisturbed run. What is tried, and on which of the commands that write, is a row of the table
that it ends with, and of the journal as soon as it is done: the same call with the same journal goes on after the rows
that are there, so a campaign can be stopped, and its parts can be run apart (--only, --arch, --commands). A journal is
of one build of mmq and one set of options. Needs Linux, and clang (Swift's own will do) for the library that makes
writes fail. Python's standard library only.
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import tempfile
import time
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path

from tools.check.torture import disturbances, faults, files, inputs, kills, places, sessions
from tools.check.torture.attempts import Row, Torture
from tools.check.writers import WRITERS
from tools.common.commands import parser
from tools.common.families import CHECKPOINTS
from tools.common.paths import MMQ

# Each with `names(arch)`, what rows it makes, and `run(torture, row)`.
PARTS = {
    "inputs": inputs,
    "faults": faults,
    "kills": kills,
    "places": places,
    "session": sessions,
    "files": files,
    "writers": disturbances.Two,
    "clock": disturbances.Clock,
}


class Journal:
    """The rows that are done, and where they are kept.

    head: the build and the options; None to look at the rows only.
    Raises: SystemExit if the file is of another build or other options.
    """

    def __init__(self, path: Path | None, head: dict | None):
        self.path = path
        self.rows: list[Row] = []
        if path is None:
            return
        if path.exists():
            first, *rest = path.read_text().splitlines() or [""]
            if head is not None and first != json.dumps(head):
                raise SystemExit(f"{path}: of another mmq or other options: {first}")
            self.rows = [Row(**json.loads(line)) for line in rest]
        elif head is None:
            raise SystemExit(f"{path}: no such journal")
        else:
            path.write_text(json.dumps(head) + "\n")

    def add(self, row: Row) -> None:
        self.rows.append(row)
        if self.path:
            with self.path.open("a") as file:
                file.write(json.dumps(asdict(row)) + "\n")


# One of each model in each process: making one takes some seconds.
trials: dict[tuple, Torture] = {}


def work(options: argparse.Namespace, folder: Path, row: Row) -> Row:
    """Fills a row. Whatever goes wrong is a finding in it: the campaign goes on."""
    start = time.monotonic()
    part = PARTS[row.part]
    size = kills.SIZE if part is kills else inputs.SIZE
    try:
        if (row.model, size) not in trials:
            home = Path(tempfile.mkdtemp(dir=folder))
            trials[row.model, size] = Torture(options, row.model, home, size)
        torture = trials[row.model, size]
        torture.begin_row(row)
        part.run(torture, row)
    except (Exception, SystemExit) as error:
        row.found(f"{type(error).__name__}: {error}")
        trials.clear()  # a disturbed model or bench is no base for the rows to come
    row.seconds = round(time.monotonic() - start, 1)
    return row


def chosen_rows(options: argparse.Namespace) -> list[Row]:
    """What is to be tried."""
    return [
        Row(part, arch, name)
        for part in sorted(options.only, key=list(PARTS).index)
        for arch in options.arch
        for name in PARTS[part].names(arch)
        if name not in WRITERS or name in options.commands]


def print_table(rows: list[Row]) -> None:
    print("\n| part | model | command or input | tried | came out |\n|---|---|---|---|---|")
    order = {part: number for number, part in enumerate(PARTS)}
    for row in sorted(rows, key=lambda row: (order[row.part], row.model)):
        results = ", ".join(f"{count:,} {result}" for result, count in sorted(row.results.items()))
        print(f"| {row.part} | {row.model} | {row.what} | {row.tried:,} | {results} |")
    print()
    for part in PARTS:
        some = [row for row in rows if row.part == part]
        if some:
            findings = sum(len(row.findings) for row in some)
            print(f"{part}: {sum(row.tried for row in some):,} tried in {sum(row.seconds for row in some):,.0f} s, "
                  f"{findings or 'no'} finding{'s' if findings != 1 else ''}")


def finish(journal: Journal, left: int) -> int:
    """Prints the table and every finding; the exit code."""
    print_table(journal.rows)
    findings = [f"{row.part}, {row.model}, {row.what}: {finding}" for row in journal.rows for finding in row.findings]
    for finding in findings:
        print("FINDING", finding)
    return 1 if findings or left else 0


def main() -> int:
    def names(known):
        def read(text: str) -> list[str]:
            chosen = text.split(",")
            if unknown := set(chosen) - set(known):
                raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}; of {', '.join(known)}")
            return chosen

        return read

    given = parser(__doc__)
    given.add_argument("--only", type=names(PARTS), default=list(PARTS), help="parts; default: all")
    given.add_argument("--arch", type=names(CHECKPOINTS), default=list(CHECKPOINTS), help="models; default: all")
    given.add_argument("--commands", type=names(WRITERS), default=list(WRITERS), help="default: all that write")
    given.add_argument("--kills", type=int, default=1000, help="kills over all commands and all models together")
    given.add_argument("--writes", type=int, default=0, help="at most so many of each command's writes fail")
    given.add_argument("--rounds", type=int, default=300, help="changed inputs of each kind")
    given.add_argument("--seed", type=int, default=1)
    given.add_argument("--jobs", type=int, default=os.cpu_count(), help="rows at a time; default: the cores")
    given.add_argument("--journal", type=Path, help="where rows are kept as they are done, to go on from")
    given.add_argument("--table", action="store_true", help="only print what the journal holds")
    given.add_argument("--mmq", type=Path, default=MMQ)
    options = given.parse_args()
    if options.table:
        if options.journal is None:
            given.error("--table needs --journal")
        return finish(Journal(options.journal, None), 0)
    options.mmq = options.mmq.resolve()
    if not options.mmq.is_file():
        raise SystemExit(f"{options.mmq}: no such program (make build, or --mmq)")

    head = {name: getattr(options, name) for name in ("kills", "writes", "rounds", "seed")}
    head["mmq"] = hashlib.sha256(options.mmq.read_bytes()).hexdigest()
    journal = Journal(options.journal, head)
    done = {row.key for row in journal.rows}
    rows = [row for row in chosen_rows(options) if row.key not in done]
    if done:
        print(f"{len(done)} rows are done, {len(rows)} left", flush=True)
    left = {row.key for row in rows}

    def keep(row: Row) -> None:
        journal.add(row)
        left.discard(row.key)
        print(f"{row.part}, {row.model}, {row.what}: {row.tried:,} tried, {len(row.findings) or 'no'} findings, "
              f"{row.seconds:,.0f} s", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        pool = concurrent.futures.ProcessPoolExecutor(options.jobs)
        tasks = []
        try:
            tasks = [pool.submit(work, options, Path(folder), row) for row in rows]
            for task in concurrent.futures.as_completed(tasks):
                keep(task.result())
        except (KeyboardInterrupt, BrokenProcessPool) as error:
            print(f"{type(error).__name__}: rows under way are waited for", flush=True)
        finally:
            pool.shutdown(cancel_futures=True)
        for task in tasks:
            if not task.cancelled() and task.exception() is None and task.result().key in left:
                keep(task.result())
        if left:
            print(f"{len(left)} rows are not done", flush=True)
    return finish(journal, len(left))
