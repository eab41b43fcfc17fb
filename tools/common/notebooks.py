"""A notebook and the script it is made from: cells begin with `# %%`, those of text with `# %% [markdown]`."""

import json
from pathlib import Path
from typing import Any

MARKDOWN = "# %% [markdown]"
CODE = "# %%"


def cells(script: str) -> list[tuple[str, str]]:
    """The kind (`markdown`, `code`) and the source of each cell."""
    found: list[tuple[str, list[str]]] = []
    for number, line in enumerate(script.split("\n"), 1):
        if line in (MARKDOWN, CODE):
            found.append(("markdown" if line == MARKDOWN else "code", []))
        elif not found:
            raise SystemExit(f"line {number}: expected {CODE!r} or {MARKDOWN!r}, found {line!r}")
        elif found[-1][0] == "code":
            found[-1][1].append(line)
        elif line == "#" or line.startswith("# "):
            found[-1][1].append(line[2:])
        elif line:
            raise SystemExit(f"line {number}: expected text of a markdown cell, found {line!r}")
    return [(kind, "\n".join(lines).strip("\n")) for kind, lines in found]


def document(script: str) -> dict[str, Any]:
    """The notebook of a script, without outputs."""
    made = []
    for number, (kind, source) in enumerate(cells(script), 1):
        cell: dict[str, Any] = {"cell_type": kind, "id": f"cell-{number:02}", "metadata": {},
                                "source": source.splitlines(keepends=True)}
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        made.append(cell)
    return {"cells": made, "metadata": {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"}}, "nbformat": 4, "nbformat_minor": 5}


def difference(script: str, notebook: dict[str, Any]) -> str | None:
    """Where a notebook says something else than its script; None if nowhere."""
    wanted = document(script)["cells"]
    for number, (want, cell) in enumerate(zip(wanted, notebook["cells"], strict=False), 1):
        if (want["cell_type"], want["source"]) != (cell["cell_type"], cell["source"]):
            return f"cell {number} differs: {''.join(want['source'][:1]).strip()}"
    if len(wanted) != len(notebook["cells"]):
        return f"{len(wanted)} cells in the script, {len(notebook['cells'])} in the notebook"
    return None


def said(cell: dict[str, Any]) -> tuple[str, list[str]]:
    """What a cell printed, and the kinds of what it displayed."""
    text = "".join("".join(output["text"]) for output in cell.get("outputs", []) if output["output_type"] == "stream")
    shown = [kind for output in cell.get("outputs", []) for kind in output.get("data", {}) if kind != "text/plain"]
    return text, shown


def write(notebook: dict[str, Any], path: Path) -> None:
    """Writes a notebook as Jupyter does."""
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
