"""Which program the package takes, and that both say the same version."""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Dict, Optional

import mmq

from .support import binary


class WhichProgram(unittest.TestCase):
    """A copy of the package with a program inside, and others in the other places."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.work = Path(folder.name).resolve()
        self.package = self.work / "site/mmq"
        shutil.copytree(Path(mmq.__file__).parent, self.package, ignore=shutil.ignore_patterns("bin", "__pycache__"))

    def program(self, place: str, mode: int = 0o755) -> Path:
        path = self.work / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(mode)
        return path

    def found(self, given: Optional[str] = None, **variables: str) -> str:
        environment: Dict[str, str] = {key: value for key, value in os.environ.items() if key != "MMQ"}
        environment.update(PYTHONPATH=str(self.package.parent), PATH=str(self.work / "path"), **variables)
        return subprocess.run([sys.executable, "-c", f"import mmq; print(mmq.find_binary({given!r}))"], check=True,
                              capture_output=True, text=True, env=environment).stdout.strip()

    def test_inside_before_path(self) -> None:
        outside = self.program("path/mmq")
        self.assertEqual(self.found(), str(outside))
        inside = self.program("site/mmq/bin/mmq")
        self.assertEqual(self.found(), str(inside))

    def test_named_before_inside(self) -> None:
        self.program("site/mmq/bin/mmq")
        named, variable = self.program("named/mmq"), self.program("variable/mmq")
        self.assertEqual(self.found(MMQ=str(variable)), str(variable))
        self.assertEqual(self.found(str(named), MMQ=str(variable)), str(named))

    def test_no_program_inside(self) -> None:
        outside = self.program("path/mmq")
        self.program("site/mmq/bin/mmq", mode=0o644)
        self.assertEqual(self.found(), str(outside))


class Version(unittest.TestCase):
    def test_package_and_program(self) -> None:
        said = subprocess.run([binary(), "--version"], check=True, capture_output=True, text=True).stdout
        self.assertEqual(said, mmq.__version__ + "\n")


if __name__ == "__main__":
    unittest.main()
