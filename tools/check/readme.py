"""Runs the examples of README.md, in their order, and says where the printed output is not the true one.

    python3 tools/check readme [--mmq .build/release/mmq] [--write]

An example is an indented block whose first line begins with "$ mmq". Its output may leave lines out with "...", and
times may differ. --write puts the true output in place (of examples without "..."). Blocks that begin with ">>>" are
run last, by doctest; they need numpy, the rest Python's standard library only. The demo's examples need `make demo`
first. Last digits may differ between instruction sets.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.common.commands import parser
from tools.common.paths import MMQ, ROOT

# What examples take for granted: the same checkpoint as f16, and what was counted with it.
BEFORE = """
mmq convert Tests/Golden/llava-next/hub-f16/checkpoint --output model-f16 --type f16
mmq activation --model model-f16 --bench Tests/Golden/bench --study study-f16.sqlite --domain rs,com
mmq identify --study study-f16.sqlite --model model-f16
"""
TIMES = re.compile(r'(?<=_seconds" : )[0-9.e-]+|[0-9.]+(?:e-[0-9]+)?(?= s\b)')


def blocks(lines: list[str], begins: str) -> list[tuple[int, int]]:
    """First and last + 1 line of every example whose first line begins so."""
    found, start = [], None
    for number, line in enumerate(lines + ["end"]):
        if start is None and line.startswith(f"    {begins}"):
            start = number
        elif start is not None and not line.startswith("    "):
            end = number
            if line == "" and number + 1 < len(lines) and lines[number + 1].startswith("    ") and (
                    not lines[number + 1].startswith("    $ ")):
                continue  # an empty line within the output
            found.append((start, end))
            start = None
    return found


def split(block: list[str]) -> tuple[str, list[str]]:
    """The command, over as many lines as it takes, and its output."""
    text = [line[4:] for line in block]
    count = 1
    while text[count - 1].endswith("\\") or "\n".join(text[:count]).count('"') % 2:
        count += 1
    return "\n".join(text[:count])[2:], text[count:]


def fits(expected: list[str], output: list[str]) -> bool:
    """Whether the output is the expected one, "..." standing for any lines."""
    if not expected:
        return not output
    if expected[0].strip() == "...":
        return any(fits(expected[1:], output[n:]) for n in range(len(output) + 1))
    return bool(output) and expected[0].rstrip() == output[0].rstrip() and fits(expected[1:], output[1:])


def main() -> int:
    given = parser(__doc__)
    given.add_argument("--mmq", type=Path, default=MMQ)
    given.add_argument("--write", action="store_true")
    options = given.parse_args()
    page = ROOT / "README.md"
    lines = page.read_text().split("\n")
    wrong, true = 0, []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "bin").mkdir()
        (work / "bin/mmq").symlink_to(options.mmq.resolve())
        for name in ("Tests", ".build"):
            (work / name).symlink_to(ROOT / name)
        environment = os.environ | {"PATH": f"{work / 'bin'}:{os.environ['PATH']}"}

        def run(command: str) -> subprocess.CompletedProcess:
            return subprocess.run(command, shell=True, cwd=work, env=environment, text=True, capture_output=True)

        for command in BEFORE.strip().split("\n"):
            run(command).check_returncode()
        for start, end in blocks(lines, "$ mmq"):
            command, expected = split(lines[start:end])
            result = run(command)
            shown = result.stdout or result.stderr  # what a command does may be all that it says
            output = shown.rstrip("\n").split("\n") if shown else []
            same = fits([TIMES.sub("_", x) for x in expected], [TIMES.sub("_", x) for x in output])
            if result.returncode == 0 and same:
                continue
            wrong += 1
            print(f"README.md:{start + 1}: $ {command}\nexit code {result.returncode} {result.stderr}"
                  + "\n".join(output) + "\n", flush=True)
            if options.write and result.returncode == 0 and not any(x.strip() == "..." for x in expected):
                head = end - start - len(expected)
                true.append((start + head, end, [f"    {x}" if x else "" for x in output]))
        for start, end in blocks(lines, ">>>"):
            (work / "session").write_text("\n".join(line[4:] for line in lines[start:end]) + "\n")
            result = subprocess.run(
                [sys.executable, "-m", "doctest", "session"], cwd=work, text=True, capture_output=True,
                env=environment | {"PYTHONPATH": str(ROOT / "python/src"), "MMQ": str(work / "bin/mmq")})
            if result.returncode:
                wrong += 1
                print(f"README.md:{start + 1}: {result.stdout}{result.stderr}", flush=True)
    for start, end, output in reversed(true):
        lines[start:end] = output
    if true:
        page.write_text("\n".join(lines))
    print(f"{wrong} examples printed something else" + (f", {len(true)} are put right" if true else ""))
    return 1 if wrong else 0
