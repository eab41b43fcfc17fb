"""Files: JSON in a few forms, and writing without leaving halves."""

import json
import os
import shutil
from pathlib import Path


def plain(value):
    """Tensors, arrays and their scalars as JSON has them."""
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    return value.tolist() if hasattr(value, "tolist") else value


def compact(value) -> str:
    """JSON on one line without blanks."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_json(path: Path, value, indent: int | None = 1) -> None:
    """JSON for people, a line an entry; `indent` None: on one line."""
    write_text(path, json.dumps(value, indent=indent, ensure_ascii=False) + "\n")


def write_compact(path: Path, value) -> None:
    """JSON for programs, as small as it gets."""
    write_text(path, compact(value))


def empty_folder(path: Path) -> Path:
    """Makes a folder with nothing in it, whatever was there."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file under another name first: what has the final name is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    os.replace(part, path)
