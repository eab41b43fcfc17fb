"""Recomputes domain-specific neurons from exported counts and compares them with the exported sets.

    mmq export --study STUDY --output OUT
    .build/venv/bin/python tools/check dape OUT/<model> [MODULE ...]

Independent of mmq: numpy and the definition (tools/common/dape.py). Exits with 1 on any difference.
"""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from tools.common.commands import parser
from tools.common.dape import neuron_sets


def main() -> int:
    given = parser(__doc__)
    given.add_argument("folder", type=Path)
    given.add_argument("modules", nargs="*", metavar="MODULE")
    options = given.parse_args()
    folder, wanted = options.folder, options.modules
    masks = [path for path in sorted((folder / "mask").glob("*.json")) if not wanted or path.stem in wanted]
    if not masks or len(masks) < len(wanted):
        given.error(f"{folder / 'mask'}: not all modules are there")
    same = True
    for path in masks:
        mask = json.loads(path.read_text())
        module, domains, settings = path.stem, mask["domains"], mask["settings"]
        files = [load_file(folder / "activation" / f"{domain}.safetensors") for domain in domains]
        counts = np.stack([file[f"{module}_log"] for file in files])
        tokens = np.concatenate([file[f"{module}_len"] for file in files])
        threshold, bar, selected, sets = neuron_sets(
            counts, tokens, settings["top_rate"], settings["filter_rate"], settings["activation_bar"])
        differing = [domain for domain, found in zip(domains, sets) if found != mask["neurons"][domain]]
        if threshold != settings["filter_threshold"] or bar != settings["activation_threshold"]:
            differing.append("thresholds")
        if selected != settings["selected"]:
            differing.append("number selected")
        sizes = ", ".join(f"{domain} {sum(map(len, found))}" for domain, found in zip(domains, sets))
        verdict = f"DIFFERENT: {', '.join(differing)}" if differing else "identical"
        print(f"{module}: {selected} selected; {sizes}: {verdict}")
        same = same and not differing
    return 0 if same else 1
