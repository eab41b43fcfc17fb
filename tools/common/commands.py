"""The entry points: `python3 tools/FOLDER COMMAND ...`."""

import argparse
import importlib
import os
import shlex
import subprocess
import sys
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[1]
INTERPRETER = "/bin/bash"


def parser(doc: str) -> argparse.ArgumentParser:
    """An argument parser that tells a module's whole docstring."""
    return argparse.ArgumentParser(
        prog=f"python3 {sys.argv[0]}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def run(folder: str, doc: str, commands: dict[str, tuple[str, str]]) -> None:
    """Runs the command that the arguments name, and ends. `commands`: name to what it runs, a module with a
    `main()` or a shell script of the folder, and a line about it."""
    width = max(map(len, commands))
    listing = "\n".join(f"  {name:<{width}}  {about}" for name, (_, about) in commands.items())
    usage = f"usage: python3 tools/{folder} COMMAND ...\n\n{doc.strip()}\n\n{listing}\n\nCOMMAND --help tells more."
    name, *rest = sys.argv[1:] or [""]
    if name in ("-h", "--help"):
        print(usage)
        sys.exit(0)
    if name not in commands:
        sys.exit(f"{f'{name!r} is no command' if name else 'which command?'}\n\n{usage}")
    target = commands[name][0]
    if target.endswith(".sh"):
        run_script(TOOLS / folder / target, rest)
    sys.argv = [f"tools/{folder} {name}", *rest]
    sys.exit(import_module(f"tools.{folder}.{target}").main())


def import_module(name: str):
    """A module; says where packages come from if one is missing."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "tools":
            raise
        sys.exit(f"{sys.argv[0]} needs the package {error.name}: `make venv`, then .build/venv/bin/python in place "
                 "of python3")


def run_script(path: Path, arguments: list[str]) -> None:
    """Becomes a shell script; --help tells the comment at its head."""
    if set(arguments) & {"-h", "--help"}:
        lines = path.read_text().splitlines()[1:]
        end = next(i for i, line in enumerate(lines) if not line.startswith("#"))
        print("\n".join(line[2:] for line in lines[:end]))
        sys.exit(0)
    sys.stdout.flush()
    os.execv(INTERPRETER, [INTERPRETER, str(path), *arguments])


def output_of(command, **settings) -> str:
    """What a program prints; if it fails, its end of stderr is the end of the tool."""
    words = [str(word) for word in command]
    result = subprocess.run(words, capture_output=True, text=True, **settings)
    if result.returncode:
        raise SystemExit(f"{shlex.join(words)}\nexit code {result.returncode}\n{result.stderr[-2000:]}")
    return result.stdout


def one_file(folder: Path, pattern: str) -> Path:
    """The only file of a folder that fits."""
    files = sorted(folder.glob(pattern))
    if len(files) != 1:
        raise SystemExit(f"{folder}: expected one {pattern}, found {[file.name for file in files]}")
    return files[0]
