"""Tests/Golden/activations: what the activation functions put out, value by value, by hooks on them.

One file per checkpoint, `<architecture>.safetensors`, with `mlp:<module>.<layer>` f32 [tokens, neurons] of one pass
over the first case of that variant's cases.json.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from .interventions import VARIANTS
from .models import FAMILIES
from .reference import settle
from .variant import inputs_of


@torch.no_grad()
def make(golden: Path) -> None:
    settle()
    (golden / "activations").mkdir(parents=True, exist_ok=True)
    for name, variant in VARIANTS.items():
        family = FAMILIES[name]
        folder = golden / name / variant
        model, processor = family.load(folder / "checkpoint")
        case = json.loads((folder / "cases.json").read_text())["cases"][0]
        found, handles = {}, []
        for module, layers in family.sites_of(model).modules.items():
            for layer, function in enumerate(layers):
                def seen(_, __, output, found=found, site=f"mlp:{module}.{layer}"):
                    found[site] = output.detach().reshape(-1, output.shape[-1]).clone().contiguous()
                handles.append(function.register_forward_hook(seen))
        model(**inputs_of(processor, folder / case["image"], case["prompt"]))
        for handle in handles:
            handle.remove()
        path = golden / "activations" / f"{name}.safetensors"
        save_file(found, path)
        path.chmod(0o644)
