"""Activation values over a bench: `activations` writes them, `Activations` reads them.

mmq writes the index as CSV, numbers only, a file for every so many rows: text that grows at its end can be gone on with
after a kill, to the byte, and any reader takes it."""

import importlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Union

import numpy as np

from . import _safetensors
from ._binary import PathLike
from ._commands import Callback, call
from ._errors import MmqError

_FILE = re.compile(r"^(?P<module>.+)-(?P<number>\d{5,})\.csv$")
_MANIFEST, _PROGRESS = "activations.json", "progress.json"
_COLUMNS = ["sample", "position", "image", "tile", "row", "column", "token", "file", "file_row"]
_DOMAINS = ["ad", "med", "rs", "com", "doc"]

Index = Dict[str, "np.ndarray[Any, Any]"]


def activations(model: PathLike, bench: PathLike, output: PathLike, *, progress: Optional[Callback] = None,
                binary: Optional[PathLike] = None, **options: Any) -> "Activations":
    """Writes activation values over a bench to a folder (`sites="mlp:lang.5"`, `positions="image"`, `dtype="f16"`,
    `domain=["rs", "com"]`, `samples=100`, ...). A call that was interrupted goes on where it was.

    Returns:
        what the folder holds then.
    """
    call(["activations"], {"model": model, "bench": bench, "output": output, **options}, progress, binary)
    return Activations(output)


@dataclass(frozen=True)
class Part:
    """Rows of a domain and module that lie in one file of each layer.

    Attributes:
        folder: where the files are.
        domain: `ad`, `med`, `rs`, `com` or `doc`.
        module: the module's name.
        number: the files' number in that folder, from 0.
    """

    folder: str
    domain: str
    module: str
    number: int

    @property
    def _index(self) -> str:
        return os.path.join(self.folder, f"{self.module}-{self.number:05}.csv")

    def _array(self, layer: int) -> str:
        return os.path.join(self.folder, f"{self.module}.{layer}-{self.number:05}.safetensors")


@dataclass(frozen=True, eq=False)
class Site:
    """A layer whose activations there are.

    Attributes:
        name: `mlp:MODULE.LAYER`.
        module: the module's name.
        layer: the layer, from 0.
        columns: columns of its arrays.
        neurons: int64 [columns], which neuron each column is.
    """

    name: str
    module: str
    layer: int
    columns: int
    neurons: "np.ndarray[Any, np.dtype[np.int64]]"


class Activations:
    """What `mmq activations` wrote, read only.

    Args:
        folders: the folder, or those of several shards.

    Attributes:
        sites: the layers there are, by name.
        model, positions, dtype: the model's fingerprint, which positions were taken, float32 or float16.
        finished: whether every domain that was begun is as far as was asked for.
        parts: the files, in the order of their numbers in the index: of each domain and module as many rows each.

    Raises:
        MmqError: it is no such folder, or the folders do not belong together.
    """

    def __init__(self, *folders: PathLike) -> None:
        if not folders:
            raise MmqError("no folder of activations is named")
        self.path = os.fspath(folders[0])
        self.parts: List[Part] = []
        self.finished = True
        self._index: Optional[Index] = None
        begun: List[Dict[str, Any]] = []
        for folder in folders:
            begun.append(self._json(os.path.join(folder, _MANIFEST)))
            self._add(os.fspath(folder))
        if begun[0].get("version") != 1:
            raise MmqError(f"{self.path}: version {begun[0].get('version')} of activations; this package reads 1")
        for folder, other in zip(folders, begun):
            for key in ("version", "model", "split", "positions", "dtype", "sites"):
                if other.get(key) != begun[0].get(key):
                    raise MmqError(f"{os.fspath(folder)}: begun with another '{key}' than {self.path}")
        shards = [other.get("shard") for other in begun]
        if len(set(shards)) != len(shards):
            raise MmqError(f"{self.path}: the folders are not different shards: {', '.join(map(str, shards))}")
        self.sites: Dict[str, Site] = {}
        try:
            self.model = str(begun[0]["model"])
            self.positions = str(begun[0]["positions"])
            self.dtype = np.dtype({"f32": "<f4", "f16": "<f2"}[begun[0]["dtype"]])
            for entry in begun[0]["sites"]:
                neurons = np.arange(entry["columns"]) if entry["neurons"] is None else np.array(entry["neurons"])
                self.sites[entry["name"]] = Site(
                    entry["name"], entry["module"], entry["layer"], entry["columns"], neurons.astype(np.int64))
        except (KeyError, TypeError, ValueError) as error:
            raise MmqError(f"{os.path.join(self.path, _MANIFEST)}: is not what mmq activations writes: {error!r}"
                           ) from error

    @staticmethod
    def _json(path: str) -> Dict[str, Any]:
        try:
            found: Dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
            if not isinstance(found, dict):
                raise ValueError("no object")
            return found
        except (OSError, ValueError) as error:
            raise MmqError(f"{path}: cannot be read as what mmq activations writes: {error}") from error

    def _add(self, folder: str) -> None:
        for domain in _DOMAINS:
            below = os.path.join(folder, domain)
            if not os.path.isdir(below):
                continue
            progress = os.path.join(below, _PROGRESS)
            if not os.path.exists(progress) or self._json(progress).get("outcome") is None:
                self.finished = False
            files = []
            for name in os.listdir(below):
                found = _FILE.match(name)
                if found:
                    files.append(Part(below, domain, found["module"], int(found["number"])))
            self.parts += sorted(files, key=lambda part: (part.module, part.number))

    @property
    def domains(self) -> List[str]:
        """The domains there are rows of."""
        there = {part.domain for part in self.parts}
        return [domain for domain in _DOMAINS if domain in there]

    @property
    def index(self) -> Index:
        """What every row is, as columns with an element a row; `pandas.DataFrame` takes them as they are.

        Returns:
            `domain` and `module` (texts as objects); `sample` (its place in the bench), `position` (among the module's
            tokens), `image` (bool: whether it is the picture's), `tile`, `row` and `column` (of patches, where in the
            picture), `token` (its id), `file` (a number that `array` takes) and `file_row` (the row there), int64; -1
            where there is none.
        """
        if self._index is None:
            tables = [self._table(part) for part in self.parts]
            columns: Index = {}
            rows = [len(table) for table in tables]
            for name, texts in (("domain", [part.domain for part in self.parts]),
                                ("module", [part.module for part in self.parts])):
                columns[name] = np.repeat(np.array(texts, object), rows)
            for place, name in enumerate(_COLUMNS):
                columns[name] = np.concatenate([table[:, place] for table in tables] or [np.zeros(0, np.int64)])
            columns["image"] = columns["image"] == 1
            # Numbers of files are each domain's own there.
            columns["file"] = np.repeat(np.arange(len(self.parts), dtype=np.int64), rows)
            for column in columns.values():
                column.flags.writeable = False
            self._index = columns
        return dict(self._index)

    @staticmethod
    def _table(part: Part) -> "np.ndarray[Any, np.dtype[np.int64]]":
        try:
            text = Path(part._index).read_text(encoding="ascii")
            head, _, body = text.partition("\n")
            if head.split(",") != _COLUMNS:
                raise ValueError("the columns are " + head)
            # Ten times as fast as numpy.loadtxt was for long.
            numbers = np.fromstring(body.replace("\n", ",")[:-1], np.int64, sep=",")
            if len(numbers) != len(_COLUMNS) * body.count("\n"):
                raise ValueError(f"{len(numbers)} numbers in {body.count(chr(10))} lines")
            table: "np.ndarray[Any, np.dtype[np.int64]]" = numbers.reshape(-1, len(_COLUMNS))
            return table
        except (OSError, ValueError) as error:
            raise MmqError(f"{part._index}: cannot be read as an index: {error}") from error

    def array(self, file: int, site: Union[str, int, None] = None) -> "np.ndarray[Any, Any]":
        """The activations of one file, memory-mapped: rows are those whose `file` in the index it is, in order.

        Args:
            file: its number in the index.
            site: the layer, by its name `mlp:MODULE.LAYER` or by its number in the file's module; may be left out where
                there is only one of that module.

        Returns:
            float32 or float16 [rows, columns], read-only; `sites[...].neurons` says which neuron each column is.

        Raises:
            MmqError: there is no such file or layer.
        """
        if not 0 <= file < len(self.parts):
            raise MmqError(f"{self.path}: there is no file {file}, only {len(self.parts)}")
        part = self.parts[file]
        layers = {there.name: there for there in self.sites.values() if there.module == part.module}
        if site is None:
            chosen = next(iter(layers.values())) if len(layers) == 1 else None
        else:
            chosen = layers.get(site if isinstance(site, str) else f"mlp:{part.module}.{site}")
        if chosen is None:
            raise MmqError(f"{self.path}: name a layer of file {file}: {', '.join(layers)}, not {site}")
        path = part._array(chosen.layer)
        arrays = _safetensors.read(path)
        array = arrays.get(chosen.name)
        if array is None or array.dtype != self.dtype or array.ndim != 2 or array.shape[1] != chosen.columns:
            raise MmqError(f"{path}: holds no array {chosen.name} of {chosen.columns} columns")
        return array

    def frame(self) -> Any:
        """The index as a `pandas.DataFrame`.

        Raises:
            MmqError: pandas is not installed.
        """
        return self._library("pandas").DataFrame(self.index)

    def to_parquet(self, path: PathLike) -> None:
        """Writes the index as a Parquet file, which appears when it is whole; `file` in it stays the number that
        `array` takes.

        Raises:
            MmqError: pyarrow is not installed, or the file cannot be written.
        """
        arrow, parquet = self._library("pyarrow"), self._library("pyarrow.parquet")
        partial = os.fspath(path) + ".partial"
        try:
            with parquet.ParquetWriter(partial, self._schema(arrow)) as writer:
                for rows in self._blocks():
                    writer.write_table(arrow.table(rows, schema=self._schema(arrow)))
            os.replace(partial, path)
        except BaseException as error:
            if os.path.exists(partial):
                os.unlink(partial)
            if isinstance(error, OSError):
                raise MmqError(f"{os.fspath(path)}: cannot be written: {error}") from error
            raise

    @staticmethod
    def _schema(arrow: Any) -> Any:
        types = {"domain": arrow.string(), "module": arrow.string(), "image": arrow.bool_()}
        return arrow.schema([(name, types.get(name, arrow.int64())) for name in ["domain", "module", *_COLUMNS]])

    def _blocks(self) -> Iterator[Index]:
        """The index, a million rows at a time."""
        index = self.index
        count = len(index["file"])
        for first in range(0, count, 1 << 20):
            yield {name: column[first:first + (1 << 20)] for name, column in index.items()}

    @staticmethod
    def _library(name: str) -> Any:
        try:
            return importlib.import_module(name)
        except ImportError as error:
            raise MmqError(f"{name.split('.')[0]} is needed for this and not installed: pip install "
                           f"{name.split('.')[0]} ({error})") from error
