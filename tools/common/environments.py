"""Virtual environments in .build for tools that need packages of the registry."""

import subprocess
import sys
from pathlib import Path

from tools.common.paths import ROOT


def environment(name: str, packages: list[str]) -> Path | None:
    """The Python of .build/NAME-venv, made with these packages if it is not there; None where they cannot be had."""
    folder = ROOT / ".build" / f"{name}-venv"
    python, made = folder / "bin/python", folder / "packages"
    wanted = "\n".join(packages) + "\n"
    if made.is_file() and made.read_text() == wanted and not _run(python, "-c", ""):
        return python
    print(f"Making a virtual environment in {folder.relative_to(ROOT)} ...", flush=True)
    if _run(sys.executable, "-m", "venv", folder) or _run(
            python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages):
        return None
    made.write_text(wanted)
    return python


def _run(*command: object) -> int:
    try:
        return subprocess.run([str(word) for word in command]).returncode
    except OSError:
        return 1
