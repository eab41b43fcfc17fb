"""Studies on a tmpfs, on a mount to read from, and on a file system without shared memory.

    python3 tools/check filesystems [--arch instructblip] [--mmq .build/release/mmq]

SQLite's write-ahead log needs files that processes map and share. Everything must work on a tmpfs; from the other two a
study must be read and merged, and who writes there must be told so, and leave nothing. The last is a FUSE mount with
direct I/O (Debian's package bindfs). Needs Linux and root; Python's standard library only.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tools.common.commands import output_of, parser
from tools.common.families import CHECKPOINTS
from tools.common.paths import MMQ
from tools.common.trial import Failure, Trial, contents, difference

SHARDS = 2


@contextlib.contextmanager
def mounted(folder: Path, *commands: list):
    """What the commands mount on a folder."""
    folder.mkdir()
    mounts = 0
    try:
        for words in commands:
            output_of(words)
            # A second command may only change how the first one's is mounted.
            mounts = 1
        yield folder
    finally:
        for _ in range(mounts):
            output_of(["umount", folder])


class FileSystemTest(Trial):
    def __init__(self, mmq: Path, arch: str, work: Path):
        super().__init__(mmq, arch, work, train=40, val=8)
        output_of([mmq, "convert", self.checkpoint, "--output", self.model, "--type", "q4_0"])
        self.disk = work / "disk"
        self.disk.mkdir()
        self.whole = work / "whole"
        self.make(self.whole)
        for number in range(1, SHARDS + 1):
            self.make(self.shard(self.disk, number), "--shard", f"{number}/{SHARDS}")

    def shard(self, folder: Path, number: int) -> Path:
        return folder / f"shard-{number}"

    def make(self, study: Path, *options: str) -> None:
        output_of([self.mmq, "activation", *self.arguments("activation", study), *options])

    def merge(self, folder: Path, output: Path) -> None:
        shards = [self.shard(folder, number) for number in range(1, SHARDS + 1)]
        output_of([self.mmq, "status", *shards])
        output.unlink(missing_ok=True)
        output_of([self.mmq, "merge", *shards, "--output", output])
        if table := difference(contents(self.whole), contents(output)):
            raise Failure(f"{folder.name}: the table {table} of the merged study is another")

    def refuse(self, folder: Path, words: list, code: int, expected: str) -> None:
        """A command that writes there fails with this exit code, says why, and leaves the folder as it was."""
        before = contents(folder)
        result = subprocess.run([self.mmq, *map(str, words)], capture_output=True, text=True)
        if result.returncode != code or expected not in result.stderr:
            raise Failure(f"{folder.name}: {words[0]}: exit code {result.returncode}, expected {code}: {result.stderr}")
        if contents(folder) != before:
            raise Failure(f"{folder.name}: left {[path.name for path in folder.iterdir()]}")

    def check_reading(self, folder: Path, code: int, expected: str) -> None:
        self.merge(folder, self.work / "merged")
        self.refuse(folder, ["activation", *self.arguments("activation", folder / "new")], code, expected)
        shards = [self.shard(self.disk, number) for number in range(1, SHARDS + 1)]
        self.refuse(folder, ["merge", *shards, "--output", folder / "new"], code, expected)
        print(f"{folder.name}: studies are read and merged, and not written", flush=True)

    def check(self) -> None:
        with mounted(self.work / "tmpfs", ["mount", "-t", "tmpfs", "none", self.work / "tmpfs"]) as folder:
            for path in self.disk.iterdir():
                shutil.copy(path, folder)
            self.merge(folder, folder / "merged")
            self.make(folder / "new")
            if table := difference(contents(self.whole), contents(folder / "new")):
                raise Failure(f"tmpfs: the table {table} is another")
            print("tmpfs: studies are read, merged and written", flush=True)
        place = self.work / "read-only"
        with mounted(place, ["mount", "--bind", self.disk, place], ["mount", "-o", "remount,bind,ro", place]):
            self.check_reading(place, 2, "Read-only file system")
        place = self.work / "no-shared-memory"
        with mounted(place, ["bindfs", "-o", "direct_io", self.disk, place]):
            self.check_reading(place, 1, "no shared memory")


def main() -> int:
    given = parser(__doc__)
    given.add_argument("--arch", choices=CHECKPOINTS, default="llava-next")
    given.add_argument("--mmq", type=Path, default=MMQ)
    options = given.parse_args()
    if os.geteuid() != 0 or shutil.which("bindfs") is None:
        raise SystemExit("needs root, and bindfs (apt-get install bindfs)")
    with tempfile.TemporaryDirectory() as folder:
        try:
            FileSystemTest(options.mmq, options.arch, Path(folder)).check()
        except Failure as failure:
            print(failure)
            return 1
    return 0
