"""Runs the notebook of examples/ and says where it prints something else than what it was committed with.

    python3 tools/check notebook [--mmq .build/release/mmq] [--write] [--source]

It is made from the script beside it (examples/demo.py), and needs `make demo` first. nbclient, ipykernel and matplotlib
come into a virtual environment in .build. --write writes the notebook anew, outputs and all; --source looks only
whether notebook and script say the same, and needs no package. Pictures are not compared, only that they are there.
Last digits may differ between instruction sets.
"""

import difflib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.common import notebooks
from tools.common.commands import parser
from tools.common.environments import environment
from tools.common.paths import MMQ, ROOT

SCRIPT = ROOT / "examples/demo.py"
NOTEBOOK = ROOT / "examples/demo.ipynb"
STUDY = ROOT / ".build/demo/llava-next/study.sqlite"
PACKAGES = ["nbclient", "ipykernel", "matplotlib", "numpy"]
LARGEST = 400_000  # bytes
RUN = """
import sys, nbformat
from nbclient import NotebookClient
source, target = sys.argv[1:]
notebook = nbformat.read(source, 4)
NotebookClient(notebook, timeout=300, kernel_name="python3", record_timing=False).execute()
nbformat.write(notebook, target)
"""


def executed(script: str, mmq: Path) -> dict | None:
    """The script's notebook with what its cells gave, without what only this machine has; None where it failed."""
    python = environment("notebook", PACKAGES)
    if python is None:
        raise SystemExit(f"the packages to run a notebook with cannot be had here: {', '.join(PACKAGES)}")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "source.ipynb", Path(folder) / "target.ipynb"
        notebooks.write(notebooks.document(script), source)
        result = subprocess.run(
            [python, "-c", RUN, source, target], cwd=SCRIPT.parent, capture_output=True, text=True,
            env=os.environ | {"MMQ": str(mmq.resolve()), "PYTHONPATH": str(ROOT / "python/src"),
                              "IPYTHONDIR": folder, "JUPYTER_CONFIG_DIR": folder, "MPLCONFIGDIR": folder})
        if result.returncode:
            print(result.stderr[-4000:], file=sys.stderr)
            return None
        found = json.loads(target.read_text())
    made = notebooks.document(script)
    for cell, run in zip(made["cells"], found["cells"]):
        if cell["cell_type"] == "code":
            cell["execution_count"] = run["execution_count"]
            cell["outputs"] = tidy(run["outputs"])
    return made


def tidy(outputs: list[dict]) -> list[dict]:
    """Outputs without what differs each time: where a text was cut, how large a picture was on the screen."""
    found: list[dict] = []
    for output in outputs:
        if "image/png" in output.get("data", {}):
            output = {**output, "data": {"image/png": output["data"]["image/png"].strip() + "\n"}, "metadata": {}}
        if output["output_type"] == "stream":
            text = "".join(output["text"])
            if found and found[-1].get("name") == output["name"]:
                text = "".join(found.pop()["text"]) + text
            output = {**output, "text": text.splitlines(keepends=True)}
        found.append(output)
    return found


def faults(notebook: dict) -> list[str]:
    """What a notebook must not hold."""
    text = json.dumps(notebook)
    found = [f"a path of this machine: {path}" for path in (str(ROOT), str(Path.home()) + "/") if path in text]
    found += [f"a warning or an error in cell {number}" for number, cell in enumerate(notebook["cells"], 1)
              for output in cell.get("outputs", [])
              if output["output_type"] == "error" or output.get("name") == "stderr"]
    if len(text) > LARGEST:
        found.append(f"{len(text)} bytes, more than {LARGEST}")
    return found


def main() -> int:
    given = parser(__doc__)
    given.add_argument("--mmq", type=Path, default=MMQ)
    given.add_argument("--write", action="store_true")
    given.add_argument("--source", action="store_true")
    options = given.parse_args()
    script = SCRIPT.read_text()
    committed = json.loads(NOTEBOOK.read_text()) if NOTEBOOK.is_file() else {"cells": []}
    if not options.write:
        apart = notebooks.difference(script, committed)
        if apart:
            print(f"{NOTEBOOK.name} is not {SCRIPT.name}: {apart} (python3 tools/check notebook --write makes it anew)")
            return 1
    if options.source:
        return 0
    if not STUDY.is_file():
        raise SystemExit(f"{STUDY.relative_to(ROOT)} is missing: make demo")
    found = executed(script, options.mmq)
    if found is None:
        return 1
    wrong = faults(found)
    if options.write:
        if not wrong:
            notebooks.write(found, NOTEBOOK)
    else:
        for number, (old, new) in enumerate(zip(committed["cells"], found["cells"]), 1):
            (text, shown), (now, displayed) = notebooks.said(old), notebooks.said(new)
            if shown != displayed:
                wrong.append(f"cell {number} displayed {displayed}, not {shown}")
            if text != now:
                lines = difflib.unified_diff(text.splitlines(), now.splitlines(), "committed", "now", lineterm="")
                wrong.append(f"cell {number} printed something else:\n" + "\n".join(lines))
    print("\n".join(wrong + [f"{len(found['cells'])} cells run, {len(wrong)} faults"]))
    return 1 if wrong else 0
