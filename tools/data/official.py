"""Turns the files of the official MMNeuron scripts into the layout that `mmq import` reads.

    .build/venv/bin/python tools/data official FILE_OR_FOLDER ... --output DIR [--model llava|blip]

Takes what torch.save wrote, told apart by what is in it:

  counts    a dict with `<module>_log`, `<module>_value`, `<module>_len`; the domain is read from the
            path. Of several snapshots (`..._1`, `..._2`) of a domain the first is taken, which is what
            the official identification uses; --snapshot N takes another.
            -> DIR/<model>/activation/<domain>.safetensors
  neurons   a list with one entry per domain, each a list with one tensor of indices per layer; the
            module is read from the file's name.
            -> DIR/<model>/mask/<module>.json
  answers   a list of dicts with `index`, `ground_truth`, `answer`; domain and mask setting are read from
            the path (--setting names it where the path does not).
            -> DIR/<model>/answers/<domain>/<setting>.jsonl

A list of neurons that ends early has lost its last domains, as the official code does where they have
no neuron: they come back as empty lists. Files are read with weights_only: nothing in them is run.
"""

import json
import re
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save

from tools.common.commands import parser
from tools.common.files import plain, write_whole

DOMAINS = ["ad", "med", "rs", "com", "doc"]
# What the official paths call a domain beside its own name.
NAMES = {
    "lingoqa": "ad", "lingo": "ad", "pmc": "med", "pmcvqa": "med", "pmc-vqa": "med",
    "rsvqa": "rs", "vqav2": "com", "vqa": "com", "docvqa": "doc",
}
MODULES = ["lang", "vision", "mmproj", "encoder", "qformer", "query"]
SETTINGS = ["none", "random", "all", *MODULES]


class Unusable(Exception):
    """A file that holds none of the three things."""


def words(path: Path, depth: int = 3) -> list[str]:
    """The words of a path's last parts, the file's own first."""
    parts = [path.stem, *reversed([p for p in path.parts[:-1]][-depth:])]
    return [word for part in parts for word in re.split(r"[^a-z0-9]+", part.lower()) if word]


def domain_of(path: Path) -> str:
    for word in words(path):
        if word in DOMAINS:
            return word
        if word in NAMES:
            return NAMES[word]
    raise Unusable(f"no domain in its name (one of {', '.join(DOMAINS)})")


def snapshot_of(path: Path) -> int:
    """The number at the end of a name; 1 where there is none."""
    found = re.search(r"_(\d+)$", path.stem)
    return int(found.group(1)) if found else 1


def array(value, dtype) -> np.ndarray:
    tensor = value if isinstance(value, torch.Tensor) else torch.as_tensor(value)
    result = tensor.detach().cpu().to(torch.float64).numpy()
    if np.issubdtype(dtype, np.integer):
        if not np.array_equal(result, np.round(result)):
            raise Unusable("a count that is not a whole number")
    return np.ascontiguousarray(result.astype(dtype))


def counts(data: dict) -> dict[str, np.ndarray]:
    found = {}
    for module in MODULES:
        if f"{module}_log" not in data:
            continue
        # The official code keeps a module of one layer as one row.
        log = np.atleast_2d(array(data[f"{module}_log"], np.int64))
        value = np.atleast_2d(array(data.get(f"{module}_value", np.zeros(log.shape)), np.float64))
        if log.ndim != 2 or value.shape != log.shape:
            raise Unusable(f"{module}: log {log.shape} and value {value.shape}")
        tokens = data.get(f"{module}_len")
        if tokens is None and module == "encoder":
            tokens = data.get("vision_len")
        if tokens is None:
            raise Unusable(f"no {module}_len")
        tokens = np.atleast_1d(array(tokens, np.int64)).reshape(-1)
        if len(set(tokens.tolist())) != 1:
            raise Unusable(f"{module}: layers saw different numbers of tokens")
        if log.min(initial=0) < 0 or log.max(initial=0) > tokens[0]:
            raise Unusable(f"{module}: a count outside 0 ... {tokens[0]}")
        found |= {f"{module}_log": log, f"{module}_value": value, f"{module}_len": tokens[:1]}
    if not found:
        raise Unusable("a dict without <module>_log")
    return found


def is_neurons(data) -> bool:
    return (
        isinstance(data, (list, tuple)) and 0 < len(data) <= len(DOMAINS)
        and all(isinstance(layers, (list, tuple)) and len(layers) > 0 for layers in data)
        and all(isinstance(layer, (torch.Tensor, list)) for layers in data for layer in layers)
    )


def neurons(data, path: Path, domains: list[str]) -> tuple[str, dict]:
    module = next((word for word in words(path) if word in MODULES), None)
    if module is None:
        raise Unusable(f"no module in its name (one of {', '.join(MODULES)})")
    layers = len(data[0])
    if len(data) > len(domains) or any(len(entry) != layers for entry in data):
        raise Unusable("lists of different lengths, or more than there are domains")
    lists = [
        [sorted(set(array(layer, np.int64).reshape(-1).tolist())) for layer in entry]
        for entry in data
    ]
    lists += [[[] for _ in range(layers)]] * (len(domains) - len(lists))
    return module, {
        "module": module, "domains": domains, "neurons": dict(zip(domains, lists)),
    }


def answers(data) -> list[dict]:
    lines = []
    for entry in data:
        missing = {"index", "ground_truth", "answer"} - entry.keys()
        if missing:
            raise Unusable(f"an answer without {', '.join(sorted(missing))}")
        lines.append({key: plain(entry[key]) for key in ("index", "ground_truth", "answer")})
    return lines


def files_of(paths: list[Path]) -> list[Path]:
    found = []
    for path in paths:
        if path.is_dir():
            found += sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
        else:
            found.append(path)
    return found


def write(path: Path, data: bytes) -> None:
    write_whole(path, data)
    print(path)


def convert(path: Path, options, taken: dict[Path, Path]) -> None:
    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise Unusable(f"not a torch file, or one of objects: {reason}") from error
    root = options.output / options.model

    def claim(target: Path) -> Path:
        if target in taken:
            raise Unusable(f"{target} was already made from {taken[target]}")
        taken[target] = path
        return target

    if isinstance(data, dict):
        if snapshot_of(path) != options.snapshot:
            raise Unusable(f"snapshot {snapshot_of(path)}, not {options.snapshot}")
        found = counts(data)
        target = claim(root / "activation" / f"{domain_of(path)}.safetensors")
        write(target, save(found, metadata={"samples": "0"}))
    elif isinstance(data, (list, tuple)) and data and all(isinstance(e, dict) for e in data):
        lines = answers(data)
        found = [word for word in words(path) if word in SETTINGS]
        setting = options.setting or (found[0] if found else "none")
        target = claim(root / "answers" / domain_of(path) / f"{setting}.jsonl")
        write(target, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode())
    elif is_neurons(data):
        module, document = neurons(data, path, options.domains)
        write(claim(root / "mask" / f"{module}.json"), json.dumps(document).encode() + b"\n")
    else:
        raise Unusable("neither counts nor neurons nor answers")


def main() -> int:
    given = parser(__doc__)
    given.add_argument("paths", nargs="+", type=Path)
    given.add_argument("--output", type=Path, required=True)
    given.add_argument("--model", default="llava", help="the folder's name (default: llava)")
    given.add_argument("--snapshot", type=int, default=1)
    given.add_argument("--setting", help="the mask setting of answers")
    given.add_argument(
        "--domains", type=lambda text: text.split(","), default=DOMAINS,
        help="the domains of neuron lists, in their order (default: ad,med,rs,com,doc)")
    options = given.parse_args()
    if set(options.domains) - set(DOMAINS) or len(set(options.domains)) != len(options.domains):
        given.error(f"--domains: each of {', '.join(DOMAINS)} at most once")
    taken: dict[Path, Path] = {}
    named = set(options.paths)
    failed = False
    for path in files_of(options.paths):
        try:
            convert(path, options, taken)
        except (Unusable, OSError) as problem:
            # A folder may hold other files; one that was named must be usable.
            failed |= path in named
            print(f"{path}: {problem}", file=sys.stderr)
    if not taken:
        print("nothing was converted", file=sys.stderr)
    return 1 if failed or not taken else 0

