"""Tests/Golden/interventions: what transformers computes where neurons are put to a value, scaled and moved, by hooks
on the outputs of the activation functions.

One file per checkpoint, `<architecture>.json`: `variant`, `case` (the first of that variant that is clear of ties), and
`masks`, each with

    name          what is done
    mask          a mask file: "module": [one entry per layer]
    last_logits   [vocabulary] of the last position, rounded to 1e-6
    tokens        the greedy continuation under the mask, at most 24
    smallest_gap  the least distance between the best and the second logit on the way

`zero` is the variant's own mask.json; `mean` puts every neuron of it to its mean over the pass without a mask,
`scale` halves it, `add` moves it by half a standard deviation of that pass, `mixed` does a different thing to
each module, neuron by neuron.
"""

import json
from functools import partial
from pathlib import Path

import numpy as np
import torch

from tools.common.families import CHECKPOINTS
from tools.common.files import write_json

from .models import FAMILIES
from .record import greedy
from .reference import settle
from .variant import inputs_of

# InstructBLIP's is the one that most of the Swift tests take.
VARIANTS = dict(path.split("/") for path in CHECKPOINTS.values()) | {"instructblip": "new-f16"}
SMALLEST_GAP = 5e-3


class Statistics:
    """Mean and standard deviation of every neuron over one pass, by module and layer."""

    def __init__(self, sites, run):
        self.values, handles = {}, []
        for module, layers in sites.modules.items():
            for layer, function in enumerate(layers):
                def seen(_, __, output, place=(module, layer)):
                    self.values[place] = output.detach().reshape(-1, output.shape[-1]).double()
                handles.append(function.register_forward_hook(seen))
        run()
        for handle in handles:
            handle.remove()

    def of(self, module: str, layer: int, neurons: list[int]) -> tuple[list[float], list[float]]:
        values = self.values[module, layer][:, neurons]
        return ([float(np.float32(x)) for x in values.mean(0)],
                [float(np.float32(x)) for x in values.std(0, correction=0)])


class Edited:
    """While entered, activations pass through a mask: y = scale * a + shift."""

    def __init__(self, sites, mask: dict):
        self.sites, self.mask, self.handles = sites, mask, []

    def __enter__(self):
        for module, layers in self.mask.items():
            for layer, edit in enumerate(layers):
                function = self.sites.modules[module][layer]
                scale, shift = torch.ones(self.sites.neurons[module]), torch.zeros(self.sites.neurons[module])
                entries = edit if isinstance(edit, list) else [edit]
                for entry in entries:
                    if isinstance(entry, int):
                        entry = {"neurons": [entry], "scale": 0}
                    neurons = entry.get("neurons", [entry.get("neuron")])
                    scale[neurons] = torch.tensor(entry.get("scale", 1.0), dtype=torch.float32)
                    shift[neurons] = torch.tensor(entry.get("shift", 0.0), dtype=torch.float32)
                self.handles.append(function.register_forward_hook(
                    lambda _, __, output, scale=scale, shift=shift: output * scale + shift))

    def __exit__(self, *_):
        for handle in self.handles:
            handle.remove()


def masks(zero: dict, statistics: Statistics) -> dict[str, dict]:
    def each(edit):
        return {module: [edit(module, layer, neurons) if neurons else [] for layer, neurons in enumerate(layers)]
                for module, layers in zero.items()}

    def mean(module, layer, neurons):
        return {"neurons": neurons, "scale": 0, "shift": statistics.of(module, layer, neurons)[0]}

    def scale(module, layer, neurons):
        return {"neurons": neurons, "scale": 0.5}

    def add(module, layer, neurons):
        deviations = statistics.of(module, layer, neurons)[1]
        return {"neurons": neurons, "shift": [float(np.float32(0.5 * x)) for x in deviations]}

    def mixed(module, layer, neurons):
        kinds = ({}, {"scale": -1.25, "shift": 0.125}, {"scale": 0, "shift": 0.75}, {"scale": 2})
        return [{"neuron": neuron} | kinds[1 + (place + layer) % 3] if place % 4 else neuron
                for place, neuron in enumerate(neurons)]

    return {"zero": zero, "mean": each(mean), "scale": each(scale), "add": each(add), "mixed": each(mixed)}


@torch.no_grad()
def make_one(golden: Path, name: str, family, variant: str) -> None:
    folder = golden / name / variant
    model, processor = family.load(folder / "checkpoint")
    sites = family.sites_of(model)
    zero = json.loads((folder / "mask.json").read_text())
    for case in json.loads((folder / "cases.json").read_text())["cases"]:
        inputs = inputs_of(processor, folder / case["image"], case["prompt"])
        with sites.watch():
            model(**inputs)
        found = []
        for kind, mask in masks(zero, Statistics(sites, partial(model, **inputs))).items():
            with Edited(sites, mask):
                logits = model(**inputs).logits[0, -1]
                run = greedy(model, inputs, eos=2)
            found.append({
                "name": kind, "mask": mask,
                "last_logits": [round(float(x), 6) for x in logits],
                "tokens": run["tokens"], "smallest_gap": run["smallest_gap"],
            })
        gap = min(entry["smallest_gap"] for entry in found)
        print(folder.parent.name, case["name"], gap)
        if gap >= SMALLEST_GAP:
            break
    else:
        raise SystemExit(f"{variant}: no case is clear of ties")
    write_json(golden / "interventions" / f"{folder.parent.name}.json",
               {"variant": variant, "case": case["name"], "masks": found}, indent=None)


def make(golden: Path) -> None:
    settle()
    (golden / "interventions").mkdir(parents=True, exist_ok=True)
    for name, variant in VARIANTS.items():
        make_one(golden, name, FAMILIES[name], variant)
