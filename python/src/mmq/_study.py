"""What a study holds, through `mmq export` and `mmq evaluate`: what they read is checked, and what they write keeps its
form whatever becomes of the database."""

import json
import os
import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional, Tuple

import numpy as np

from . import _safetensors, _tables
from ._binary import PathLike
from ._commands import call, evaluate
from ._errors import MmqError
from ._mask import Mask
from ._tables import Table


@dataclass(frozen=True)
class Counts:
    """What one domain's samples made neurons do.

    Attributes:
        domain: `ad`, `med`, `rs`, `com` or `doc`.
        samples: how many were counted.
        fired: for each module int64 [layers, neurons]: tokens at which the activation was above 0.
        sums: for each module float64 [layers, neurons]: the sum of all activations, negative ones included.
        tokens: for each module how many tokens each layer saw.
    """

    domain: str
    samples: int
    fired: Dict[str, "np.ndarray[Any, np.dtype[np.int64]]"]
    sums: Dict[str, "np.ndarray[Any, np.dtype[np.float64]]"]
    tokens: Dict[str, int]

    def rates(self, module: str) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """How often neurons fired, [layers, neurons], 0 to 1; NaN where no token was seen."""
        tokens = self.tokens[module]
        rates: "np.ndarray[Any, np.dtype[np.float64]]" = self.fired[module] / (tokens if tokens else np.nan)
        return rates


@dataclass(frozen=True)
class Answer:
    """An answer to a bench's question.

    Attributes:
        domain: the question's domain.
        setting: the mask setting, `none` without.
        index: the number that the official code gives the sample.
        question: the question.
        answer: what the model said; empty where it could say nothing.
        ground_truth: as the bench has it: a text, a list, an object.
        problem: why there is no answer, where there is none.
        attributes: what else the bench says of the sample.
    """

    domain: str
    setting: str
    index: int
    question: Optional[str]
    answer: str
    ground_truth: Any
    problem: Optional[str]
    attributes: Dict[str, Any]


class Study:
    """A study file, read only.

    Args:
        path: the SQLite file that `mmq activation`, `identify` and `generate` write.
        binary: the program `mmq`.
        split: the split whose counts are meant.
        answer_split: the split whose answers are meant.

    Raises:
        MmqError: it is no study.
    """

    def __init__(self, path: PathLike, binary: Optional[PathLike] = None, *, split: str = "train",
                 answer_split: str = "val") -> None:
        self.path = os.fspath(path)
        self._binary = binary
        self._split, self._answer_split = split, answer_split
        self._folder: Optional[str] = None
        self._state: Optional[List[Tuple[int, int]]] = None
        self._exported()

    def _exported(self) -> Path:
        """The folder of an export that is as new as the study."""
        state = []
        for file in (self.path, self.path + "-wal"):
            if os.path.exists(file):
                info = os.stat(file)
                state.append((info.st_mtime_ns, info.st_size))
        if self._folder is None or state != self._state:
            folder = tempfile.mkdtemp(prefix="mmq-study-")
            # Gone with this object; what is mapped from it stays.
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            call(["export"], {
                "study": self.path, "output": folder, "name": "study", "split": self._split,
                "answer_split": self._answer_split, "blocks": False, "moments": False}, None, self._binary)
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
            self._folder, self._state = folder, state
        return Path(self._folder) / "study"

    @property
    def domains(self) -> List[str]:
        """The domains that were counted."""
        return sorted(file.stem for file in (self._exported() / "activation").glob("*.safetensors"))

    def counts(self, domain: str) -> Counts:
        """What was counted in a domain.

        Raises:
            MmqError: nothing was.
        """
        file = self._exported() / "activation" / f"{domain}.safetensors"
        if not file.is_file():
            raise MmqError(f"{self.path}: nothing was counted in '{domain}' ({self._split}), only in "
                           + (", ".join(self.domains) or "no domain"))
        arrays, about = _safetensors.read_all(str(file))
        modules = [name[:-4] for name in arrays if name.endswith("_len")]
        return Counts(domain, int(about["samples"]), {name: arrays[name + "_log"] for name in modules},
                      {name: arrays[name + "_value"] for name in modules},
                      {name: int(arrays[name + "_len"][0]) for name in modules})

    def neurons(self, set: str = "default") -> Dict[str, Dict[str, List["np.ndarray[Any, np.dtype[np.int64]]"]]]:
        """Neuron sets: for each module and domain one ascending int64 array of indices per layer.

        Args:
            set: the name that `identify` gave them.

        Raises:
            MmqError: there are none of that name.
        """
        folder = self._exported() / "mask"
        files = sorted((folder if set == "default" else folder / set).glob("*.json"))
        if not files:
            raise MmqError(f"{self.path}: there are no neuron sets called '{set}'")
        found = {}
        for file in files:
            lists = json.loads(file.read_text(encoding="utf-8"))["neurons"]
            found[file.stem] = {domain: [np.array(layer, np.int64) for layer in layers]
                                for domain, layers in lists.items()}
        return found

    def mask(self, domain: str, modules: Optional[Iterable[str]] = None, set: str = "default") -> Mask:
        """A domain's neurons, off: those of all modules, or of some."""
        neurons = self.neurons(set)
        chosen = list(neurons if modules is None else modules)
        for module in chosen:
            if domain not in neurons.get(module, {}):
                raise MmqError(f"{self.path}: there are no neurons of '{domain}' in module '{module}'")
        return Mask.from_lists({module: neurons[module][domain] for module in chosen})

    def answers(self, domain: Optional[str] = None, setting: Optional[str] = None) -> List[Answer]:
        """Answers, in the order of the bench: all of them, or those of a domain, of a mask setting."""
        folder = self._exported() / "answers"
        found = []
        for file in sorted(folder.glob("*/**/*.jsonl")):
            of = file.relative_to(folder).parts
            name = "/".join(of[1:])[:-len(".jsonl")]
            if domain not in (None, of[0]) or setting not in (None, name):
                continue
            for line in file.read_text(encoding="utf-8").split("\n"):
                if line:
                    entry = json.loads(line)
                    found.append(Answer(of[0], name, entry["index"], entry.get("question"), entry["answer"],
                                        entry["ground_truth"], entry.get("problem"), entry.get("attributes", {})))
        return found

    def scores(self, **options: Any) -> List[Dict[str, Any]]:
        """Scores by domain, rule and mask setting, as `mmq evaluate --json` prints them: 0 to 1, with 95 % intervals.

        Args:
            options: those of `mmq evaluate`: `metric="official"`, `judge="exact"`, `domain="rs"`, `draws=1000`, ...
        """
        found: List[Dict[str, Any]] = evaluate(
            self.path, binary=self._binary, split=self._answer_split, **options)["scores"]
        return found

    def table(self, name: str) -> Table:
        """A table of `mmq export --format csv` as columns, which `pandas.DataFrame` takes as they are.

        Args:
            name: `counts`, `neurons`, `answers`, `scores` or `lens`.

        Returns:
            for each column an array with an element a row: int64; float64 with NaN where there is no number (also for
            whole numbers where one is missing); texts as objects.

        Raises:
            MmqError: there is no such table.
        """
        with tempfile.TemporaryDirectory(prefix="mmq-study-") as folder:
            call(["export"], {"study": self.path, "output": folder, "name": "study", "format": "csv",
                              "split": self._split, "answer_split": self._answer_split}, None, self._binary)
            tables = Path(folder) / "study" / "tables"
            file = tables / f"{name}.csv"
            if not file.is_file():
                raise MmqError(f"{self.path}: there is no table '{name}', only "
                               + ", ".join(sorted(other.stem for other in tables.glob("*.csv"))))
            return _tables.read(file)

    def lens(self) -> Table:
        """What the logit lens saw over the bench: a row a domain, setting, layer and kind of position, with the means
        of entropy (nats), top_probability and agreement (0 to 1) and divergence from the last layer (nats)."""
        return self.table("lens")

    def stability(self, set: str = "default", **options: Any) -> List[Dict[str, Any]]:
        """Whether other pictures would find the same neurons, as `mmq stability --json` prints it: an entry a module.

        Args:
            set: the name that `identify` gave the sets.
            options: those of `mmq stability`: `module="lang"`, `draws=100`, `seed=1`.
        """
        found: List[Dict[str, Any]] = call(
            ["stability"], {"study": self.path, "set": set, **options}, None, self._binary)
        return found
