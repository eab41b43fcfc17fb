"""Tests/Golden/activations: what the activation functions put out, value by value, by hooks on them.

Two files per checkpoint: `<architecture>.safetensors`, with `mlp:<module>.<layer>` f32 [tokens, neurons] of one pass
over the first case of that variant's cases.json, and `<architecture>.moments.safetensors`, with what `mmq activation`
keeps of passes over all of them, each a sample.
"""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file

from .interventions import VARIANTS
from .models import FAMILIES
from .reference import settle
from .variant import inputs_of

# MomentHistogram.edges, and how near a value may come to one to be counted on its other side.
EDGES = np.float32([-0.0625, 0, 0.0625, 0.125, 0.25, 0.5, 1, 2, 4, 8, 16, 32])
BAR = 1e-4
KEEP = 8


def activations_of(model, inputs, modules: dict) -> dict[str, torch.Tensor]:
    """Site -> [tokens, neurons], of one pass."""
    found, handles = {}, []
    for module, layers in modules.items():
        for layer, function in enumerate(layers):
            def seen(_, __, output, site=f"mlp:{module}.{layer}"):
                found[site] = output.detach().reshape(-1, output.shape[-1]).clone().contiguous()
            handles.append(function.register_forward_hook(seen))
    model(**inputs)
    for handle in handles:
        handle.remove()
    return found


def moments_of(samples: list[np.ndarray]) -> dict[str, np.ndarray]:
    """The strongest of each neuron's activations in samples [tokens, neurons], and the histogram of all."""
    values = np.concatenate(samples)
    assert len(values) >= KEEP
    sample = np.repeat(np.arange(len(samples)), [len(one) for one in samples])
    token = np.concatenate([np.arange(len(one)) for one in samples])
    # Stable: of equal ones the first come first.
    order = np.argsort(-values, axis=0, kind="stable")[:KEEP].T
    counts = {
        "sample": sample[order], "token": token[order],
        "above": np.stack([(values > edge).sum(axis=0) for edge in EDGES]),
        "near": np.stack([(np.abs(values - edge) <= BAR).sum(axis=0) for edge in EDGES]),
    }
    # In the order of their axes: as they lie in memory they are written.
    return {"top": np.ascontiguousarray(np.take_along_axis(values.T, order, axis=1))} | {
        name: np.ascontiguousarray(numbers, np.int16) for name, numbers in counts.items()}


@torch.no_grad()
def make(golden: Path) -> None:
    settle()
    (golden / "activations").mkdir(parents=True, exist_ok=True)
    for name, variant in VARIANTS.items():
        family = FAMILIES[name]
        folder = golden / name / variant
        model, processor = family.load(folder / "checkpoint")
        modules = family.sites_of(model).modules
        passes = [
            activations_of(model, inputs_of(processor, folder / case["image"], case["prompt"]), modules)
            for case in json.loads((folder / "cases.json").read_text())["cases"]]
        path = golden / "activations" / f"{name}.safetensors"
        save_file(passes[0], path)
        path.chmod(0o644)
        moments = {}
        for module, layers in modules.items():
            found = [moments_of([one[f"mlp:{module}.{layer}"].numpy() for one in passes])
                     for layer in range(len(layers))]
            for key in found[0]:
                moments[f"{module}_{key}"] = np.stack([layer[key] for layer in found])
        path = golden / "activations" / f"{name}.moments.safetensors"
        save_arrays(moments, path)
        path.chmod(0o644)
