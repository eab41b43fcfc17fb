"""Runs the tests of the Python package (python/tests), which drive the real program, and mypy (tools/check types).

    python3 tools/check python [--mmq .build/debug/mmq] [TEST ...]
    python3 tools/check python --prepare

They need numpy; where this interpreter has none, a virtual environment with it is made in .build/python-venv, with
pyarrow and pandas where they can be had: --prepare does that and nothing else. Tests of Parquet are skipped, which is
said, without those two. Arguments are unittest's: tests.test_model.Faults for example; with some mypy does not run.
No mmq is a failure.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from tools.check.python_types import checked
from tools.common.commands import parser
from tools.common.environments import environment
from tools.common.paths import ROOT

PACKAGES = ["numpy", "pandas", "pyarrow"]


def interpreter() -> str:
    """A Python with numpy, and pyarrow and pandas where they can be had: this one, or one of a virtual environment."""
    if all(map(importlib.util.find_spec, PACKAGES)):
        return sys.executable
    python = environment("python", PACKAGES)
    if python is None:
        print("Tests of Parquet: left out, for pyarrow and pandas cannot be had here.")
        if importlib.util.find_spec("numpy"):
            return sys.executable
        python = environment("numpy", ["numpy"])
    if python is None:
        raise SystemExit("no numpy: neither here nor from the network")
    return str(python)


def main() -> int:
    given = parser(__doc__)
    given.add_argument("--mmq", type=Path, help="the program; default: the newer of the builds in .build")
    given.add_argument("tests", nargs="*", metavar="TEST")
    given.add_argument("--prepare", action="store_true", help="have a Python with numpy ready, and no more")
    options = given.parse_args()
    if options.prepare:
        print(f"numpy is there for {interpreter()}")
        return 0
    builds = [ROOT / ".build" / kind / "mmq" for kind in ("release", "debug")]
    built = sorted((file for file in builds if file.is_file()), key=lambda file: file.stat().st_mtime)
    mmq = options.mmq or (Path(os.environ["MMQ"]) if "MMQ" in os.environ else built[-1] if built else None)
    if mmq is None or not mmq.is_file():
        print(f"the tests drive the real program, and there is none: {mmq or ' or '.join(map(str, builds))}; "
              "build it with 'swift build'", file=sys.stderr)
        return 1
    environment = {**os.environ, "MMQ": str(mmq.resolve()), "PYTHONPATH": str(ROOT / "python/src"),
                   "PYTHONWARNINGS": "default::ResourceWarning"}
    if not options.tests and checked():
        return 1
    words = options.tests or ["discover", "--start-directory", "tests", "--top-level-directory", "."]
    return subprocess.run([interpreter(), "-m", "unittest", *words], cwd=ROOT / "python", env=environment).returncode
