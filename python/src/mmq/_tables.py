"""The tables that `mmq export --format csv` writes: columns with types, as numpy arrays and as Parquet."""

import csv
import importlib
import itertools
import json
import os
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence

import numpy as np

from ._errors import MmqError

Table = Dict[str, "np.ndarray[Any, Any]"]

# What columns hold; all others hold text.
_WHOLE = {"layer", "neuron", "tokens", "fired", "position", "index", "prompt_tokens", "samples", "count", "clusters",
          "pairs"}
_REAL = {"sum", "entropy", "top_probability", "agreement", "divergence", "value", "low", "high", "difference",
         "difference_low", "difference_high", "p", "holm"}
# Whole numbers that are not there in every row.
_GAPS = {"pairs"}
# Texts that are not there where they are empty; others are empty texts.
_OPTIONAL = {"problem", "group"}
_ROWS = 1 << 17  # of a table are held at a time


def read(file: Path) -> Table:
    """A table as columns, with an element a row: int64; float64 with NaN where there is no number (also for whole
    numbers where one is missing); texts as objects."""
    head, *rows = (row for part in _parts(file) for row in part)
    return {name: _array(name, [row[place] for row in rows]) for place, name in enumerate(head)}


def _array(name: str, cells: List[str]) -> "np.ndarray[Any, Any]":
    array: "np.ndarray[Any, Any]"
    if name in _WHOLE and all(cells):
        array = np.array([int(cell) for cell in cells], np.int64)
    elif name in _WHOLE | _REAL:  # a cell of nothing is no number
        array = np.array([float(cell) if cell else np.nan for cell in cells], np.float64)
    else:
        array = np.array(cells, object)
    return array


def _parts(file: Path) -> Iterator[List[List[str]]]:
    """Rows of a file, its head the first of them, many at a time."""
    with open(file, encoding="utf-8", newline="") as lines:
        rows = csv.reader(lines)
        while True:
            # An answer may be longer than Python's 128 kB; whoever else reads CSV meanwhile keeps that limit.
            limit = csv.field_size_limit(1 << 30)
            try:
                part = list(itertools.islice(rows, _ROWS))
            finally:
                csv.field_size_limit(limit)
            if not part:
                return
            yield part


def pyarrow() -> Any:
    """The package pyarrow, and its module parquet.

    Raises:
        MmqError: it is not there.
    """
    try:
        importlib.import_module("pyarrow.parquet")
        return importlib.import_module("pyarrow")
    except ImportError as error:
        raise MmqError(f"Parquet needs the package pyarrow ({error}): pip install pyarrow, or format=\"csv\""
                       ) from error


def write_parquet(table: Path, target: Path) -> None:
    """Makes a Parquet file of a CSV table, some rows at a time: whole numbers as int64, numbers as float64, texts as
    strings, what is not there as null. It appears under its name when it is complete.

    Raises:
        MmqError: there is no pyarrow, or the file cannot be written.
    """
    arrow = pyarrow()
    handle, partial = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
    os.close(handle)
    try:
        _write(arrow, table, partial)
        os.chmod(partial, 0o666 & ~_umask())
        os.replace(partial, target)
    except BaseException as error:
        os.unlink(partial)
        if isinstance(error, OSError):
            raise MmqError(f"{target}: cannot be written: {error}") from error
        raise


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _write(arrow: Any, table: Path, target: str) -> None:
    parts = _parts(table)
    head, *rows = next(parts)
    schema = arrow.schema([arrow.field(name, _type(arrow, name)) for name in head], {b"pandas": _for_pandas(head)})
    with arrow.parquet.ParquetWriter(target, schema) as writer:
        while rows:
            writer.write_table(arrow.table([arrow.array(values, _type(arrow, name))
                                            for name, values in zip(head, _columns(head, rows))], schema=schema))
            rows = next(parts, [])


def _type(arrow: Any, name: str) -> Any:
    return arrow.int64() if name in _WHOLE else arrow.float64() if name in _REAL else arrow.string()


def _columns(head: Sequence[str], rows: List[List[str]]) -> Iterator[List[Any]]:
    """The values of each column, None where there is none."""
    for place, name in enumerate(head):
        cells = [row[place] for row in rows]
        convert: Optional[Callable[[str], Any]] = int if name in _WHOLE else float if name in _REAL else None
        if convert is not None:
            yield [convert(cell) if cell else None for cell in cells]
        elif name in _OPTIONAL:
            yield [cell or None for cell in cells]
        elif name == "answer":  # an answer without words is one; where it failed there is none
            problem = head.index("problem")
            yield [None if row[problem] else row[place] for row in rows]
        else:
            yield cells


def _for_pandas(head: Sequence[str]) -> bytes:
    """What makes pandas keep whole numbers as such in a column where some are not there."""
    kinds = {name: ("int64", "Int64" if name in _GAPS else "int64") if name in _WHOLE else
             ("float64", "float64") if name in _REAL else ("unicode", "object") for name in head}
    columns = [{"name": name, "field_name": name, "pandas_type": kind, "numpy_type": own, "metadata": None}
               for name, (kind, own) in kinds.items()]
    return json.dumps({"index_columns": [], "column_indexes": [], "columns": columns, "creator": {"library": "mmq"},
                       "pandas_version": "1.0.0"}).encode()
