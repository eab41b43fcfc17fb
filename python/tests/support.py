"""What the tests share: a model, pictures, and goldens of this repository."""

import contextlib
import json
import os
import signal
import struct
import subprocess
import tempfile
import threading
import unittest
import zlib
from pathlib import Path
from typing import Any, Callable, Iterator

import mmq
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "Tests/Golden"
BENCH = GOLDEN / "bench"


def binary() -> str:
    """The program; without it no test here says anything, so that is a failure, not a skip."""
    try:
        return mmq.find_binary()
    except mmq.MmqError as error:
        raise AssertionError(f"the tests drive the real program: {error}") from error


def pixels(path: Path) -> np.ndarray:
    """Decodes a PNG of the goldens: 8 bits, RGB, no filter but Sub, Up, Average and Paeth, as the format says."""
    data = path.read_bytes()
    place, body, size = 8, b"", (0, 0)
    while place < len(data):
        length, name = struct.unpack(">I4s", data[place:place + 8])
        part = data[place + 8:place + 8 + length]
        if name == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", part[:10])
            assert (depth, colour) == (8, 2), f"{path} is no RGB"
            size = (height, width)
        if name == b"IDAT":
            body += part
        place += 12 + length
    height, width = size
    rows = np.frombuffer(zlib.decompress(body), np.uint8).reshape(height, 1 + 3 * width).astype(int)
    found = np.zeros((height, width, 3), int)
    for y in range(height):
        line = rows[y, 1:].reshape(width, 3)
        up = found[y - 1] if y else np.zeros((width, 3), int)
        for x in range(width):
            left = found[y, x - 1] if x else np.zeros(3, int)
            corner = up[x - 1] if x else np.zeros(3, int)
            guess = left + up[x] - corner
            near = [abs(guess - left), abs(guess - up[x]), abs(guess - corner)]
            paeth = np.where((near[0] <= near[1]) & (near[0] <= near[2]), left,
                             np.where(near[1] <= near[2], up[x], corner))
            found[y, x] = (line[x] + [0 * left, left, up[x], (left + up[x]) // 2, paeth][rows[y, 0]]) % 256
    return found.astype(np.uint8)


class Case(unittest.TestCase):
    """A test with a converted golden model and a scratch folder that is to be empty at the end."""

    golden = GOLDEN / "llava-next/hub-f16"

    @classmethod
    def setUpClass(cls) -> None:
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.work = Path(folder.name)
        cls.binary = binary()
        cls.model_path = cls.work / "model"
        mmq.convert(cls.golden / "checkpoint", cls.model_path, type="f16", vision_type="f16", binary=cls.binary)
        cls.cases = json.loads((cls.golden / "cases.json").read_text())["cases"]
        cls.picture = cls.golden / cls.cases[0]["image"]

    def setUp(self) -> None:
        self.scratch = Path(tempfile.mkdtemp(dir=self.work))

    def open(self) -> mmq.Model:
        """The model, closed behind the test."""
        model = mmq.Model(self.model_path, self.binary, scratch=self.scratch)
        self.addCleanup(model.close)
        return model

    def command(self, *words: object) -> str:
        """What a command prints."""
        return subprocess.run([self.binary, *map(os.fspath, map(str, words))], check=True, capture_output=True,
                              text=True).stdout

    def within(self, seconds: float, call: Callable[[], Any]) -> Any:
        """What a call gives or raises; one that takes longer is a failure, not a test that never ends."""
        ends = []

        def run() -> None:
            try:
                ends.append((call(), None))
            except BaseException as error:
                ends.append((None, error))

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(seconds)
        self.assertTrue(ends, f"no end after {seconds} s")
        value, error = ends[0]
        if error is not None:
            raise error
        return value

    @contextlib.contextmanager
    def ctrl_c(self, after: float) -> Iterator[None]:
        """Ctrl-C in the middle of what is done here, which it is to end."""
        # A shell that starts a program in the background has it ignore SIGINT; Python keeps to that.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        timer = threading.Timer(after, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
        timer.start()
        try:
            with self.assertRaises(KeyboardInterrupt):
                yield
        finally:
            timer.cancel()
            timer.join()
            signal.signal(signal.SIGINT, before)

    def assert_nothing_is_left(self) -> None:
        """No file in the scratch folder."""
        self.assertEqual(list(self.scratch.iterdir()), [])
