"""Runs mmq through pipes and on a terminal, and looks at what it says."""

import os
import pty
import re
import select
import subprocess
import time
from pathlib import Path

from tools.check.writers import ENVIRONMENT
from tools.common.trial import Failure

PATIENCE = 120.0
# The commands' own: the line of progress, on a terminal only.
OWN = (b"\r\x1b[K",)
# What a terminal obeys, or what turns the letters after it: C0 and C1 but for line feed and tab, and marks.
UNRULY = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class Terminal:
    """Runs mmq and looks at what it says, once through pipes and, asked for, once on a terminal."""

    def __init__(self, mmq: Path):
        self.mmq, self.runs, self.seen = mmq, 0, 0

    def run(self, *words: object, codes: tuple[int, ...] = (0,), on_terminal: bool = True,
            given: str | None = None) -> str:
        """What it printed. Raises: Failure if what it says would be obeyed, or at another exit code."""
        command = [str(self.mmq), *map(str, words)]
        result = subprocess.run(command, capture_output=True, env=ENVIRONMENT, timeout=PATIENCE,
                                input=(given or "").encode())
        said = result.stdout + result.stderr
        about = f"{' '.join(map(ascii, command[1:]))[:300]}"
        if result.returncode not in codes:
            raise Failure(f"{about}: exit code {result.returncode}, not {codes}: {result.stderr[-600:]!r}")
        self.look(about, said)
        if result.returncode and len(result.stderr) > 8000:
            raise Failure(f"{about}: {len(result.stderr)} bytes of error")
        if on_terminal and given is None:
            self.look(f"{about}, on a terminal", on_a_terminal(command))
        return result.stdout.decode()

    def look(self, about: str, said: bytes) -> None:
        self.runs += 1
        for own in OWN:
            said = said.replace(own, b"")
        try:
            text = said.decode()
        except UnicodeDecodeError as error:
            raise Failure(f"{about}: no UTF-8: {said[max(0, error.start - 40):error.end + 40]!r}") from None
        self.seen += text.count("mmq-evil")
        if obeyed := UNRULY.search(text.replace("\r\n", "\n")):
            place = obeyed.start()
            raise Failure(f"{about}: {obeyed[0]!r} in {text[max(0, place - 60):place + 30]!r}")


def on_a_terminal(command: list[str]) -> bytes:
    """All that it writes when stdout and stderr are a terminal."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=follower, stderr=follower, env=ENVIRONMENT)
    os.close(follower)
    said, end = b"", time.monotonic() + PATIENCE
    try:
        while time.monotonic() < end:
            if select.select([leader], [], [], 0.1)[0]:
                try:
                    data = os.read(leader, 65536)
                except OSError:
                    break
                if not data:
                    break
                said += data
        else:
            raise Failure(f"{command[1]}, on a terminal: still running after {PATIENCE:.0f} s")
    finally:
        os.close(leader)
        process.kill()
        process.wait()
    return said
