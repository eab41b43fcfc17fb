"""`mmq export` as a function, with one form more."""

import os
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Optional, Union

from . import _tables
from ._binary import PathLike
from ._commands import Callback, call
from ._errors import MmqError
from ._study import Study


def export(study: Union[Study, PathLike], output: PathLike, *, format: str = "official",
           progress: Optional[Callback] = None, binary: Optional[PathLike] = None, **options: Any) -> List[str]:
    """Writes what a study holds.

        mmq.export("study.sqlite", "export", format="parquet")
        counts = pandas.read_parquet("export/llava/tables/counts.parquet")

    Args:
        study: the study file.
        output: the folder to write into, made if it is not there.
        format: `official` (counts as safetensors, neuron sets as JSON, answers as JSONL, with the official code's
            names), or long tables, one row an observation: `csv`, or `parquet`, which keeps types and needs pyarrow
            (an extra, `parquet`).
        options: those of `mmq export`: `name="llava"`, `split="train"`, `judge="exact"`, ...

    Returns:
        the files that were written.

    Raises:
        MmqError: mmq's message, or that there is no pyarrow.
    """
    path = study.path if isinstance(study, Study) else study
    if format == "parquet":
        return write_parquet([], output, progress, binary, {"study": path, **options})
    found: Dict[str, List[str]] = call(["export"], {"study": path, "output": output, "format": format, **options},
                                       progress, binary)
    return found["files"]


def write_parquet(words: List[str], output: PathLike, progress: Optional[Callback], binary: Optional[PathLike],
                  options: Dict[str, Any]) -> List[str]:
    """The tables of `mmq export` with these words and options, each as a Parquet file; their paths."""
    _tables.pyarrow()  # before the work
    with tempfile.TemporaryDirectory(prefix="mmq-export-") as folder:
        told = call(["export", *words], {**options, "output": folder, "format": "csv"}, progress, binary)
        written = []
        for file in map(Path, told["files"]):
            target = (Path(os.fspath(output)) / file.relative_to(folder)).with_suffix(".parquet")
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise MmqError(f"{target.parent}: cannot be made: {error.strerror}") from error
            _tables.write_parquet(file, target)
            file.unlink()
            written.append(str(target))
    return written
