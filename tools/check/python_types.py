"""Checks the types of the Python package with mypy --strict, for Python 3.9.

    python3 tools/check types

mypy comes into a virtual environment in .build. It is left out, which is said, where it cannot be had: exit code 0.
"""

import subprocess

from tools.common.commands import parser
from tools.common.environments import environment
from tools.common.paths import ROOT

# The last mypy, and the last numpy's types, that Python 3.9 is a target of.
PACKAGES = ["mypy>=1.10,<2", "numpy>=2,<2.2"]


def checked() -> int:
    """Runs mypy; its exit code, or 0 where there is none."""
    python = environment("mypy", PACKAGES)
    if python is None:
        print("Types of the Python package: left out, for mypy cannot be had here.")
        return 0
    return subprocess.run([python, "-m", "mypy", "--strict", "--python-version", "3.9", "src/mmq"],
                          cwd=ROOT / "python").returncode


def main() -> int:
    parser(__doc__).parse_args()
    return checked()
