"""Tests/Golden/lens: what transformers' logit lens sees in two of the golden checkpoints, and how far their masks
move the hidden states.

One file per case, `<architecture>-<case>.safetensors`:

    <rows>.top_ids            i32 [layers, positions, 10]   most probable first, equal ones by id
    <rows>.top_probabilities  f32 [layers, positions, 10]
    <rows>.entropies          f32 [layers, positions]       natural logarithm
    <rows>.divergences        f32 [layers, positions]       KL(last block || layer)
    <rows>.gaps               f32 [layers, positions, 10]   log-probability of each less that of the
                                                            next one: ids are only compared where clear
    masked.cosine, masked.distance  f64 [layers, positions] mask.json against no mask

`all`: softmax over all rows of the head; `words`: over the tokenizer's own words (the `words` of
cases.json), as if all other logits were -infinity; `attention` and `mlp`: what that part of each layer
adds, alone, through the norm and the whole head.
"""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from tools.common.files import write_json

from . import instructblip, llava_next
from .reference import settle
from .variant import inputs_of

TOP = 10


def lens(logits: torch.Tensor, final: torch.Tensor | None = None) -> dict[str, np.ndarray]:
    """Of logits [layers, positions, rows]; `final` [positions, rows]: the model's own, if not the last layer's."""
    log = torch.log_softmax(logits.double(), dim=-1)
    own = log[-1] if final is None else torch.log_softmax(final.double(), dim=-1)
    order = torch.argsort(-log, dim=-1, stable=True)[..., : TOP + 1]
    best = torch.gather(log, -1, order)
    return {
        "top_ids": order[..., :TOP].int().numpy(),
        "top_probabilities": best[..., :TOP].exp().float().numpy(),
        "gaps": (best[..., :TOP] - best[..., 1:]).float().numpy(),
        "entropies": -(log.exp() * log).sum(-1).float().numpy(),
        "divergences": (own.exp() * (own - log)).sum(-1).float().numpy(),
    }


def hidden(found: dict[str, np.ndarray]) -> torch.Tensor:
    layers = sum(key.startswith("hidden.") for key in found)
    return torch.stack([torch.from_numpy(found[f"hidden.{i}"]) for i in range(layers)])


def partial(model, layers, inputs: dict) -> dict[str, torch.Tensor]:
    """What attention and MLP of every decoder layer add, [layers, positions, hidden]."""
    taken = {"attention": [], "mlp": []}
    handles = []
    for layer in layers:
        for part, module in (("attention", layer.self_attn), ("mlp", layer.mlp)):
            handles.append(module.register_forward_hook(
                lambda _, __, out, part=part: taken[part].append((out[0] if isinstance(out, tuple) else out)[0])))
    model(**inputs)
    for handle in handles:
        handle.remove()
    return {part: torch.stack(outputs) for part, outputs in taken.items()}


@torch.no_grad()
def make_cases(golden: Path, family, variant: str, parts) -> list[dict]:
    folder = golden / family.ARCHITECTURE.replace("_", "-") / variant
    model, processor = family.load(folder / "checkpoint")
    norm, head, layers = parts(model)
    sites = family.sites_of(model)
    mask = json.loads((folder / "mask.json").read_text())
    words = len(json.loads((folder / "checkpoint" / "tokenizer.json").read_text())["model"]["vocab"])
    cases = []
    for case in json.loads((folder / "cases.json").read_text())["cases"][:2]:
        inputs = inputs_of(processor, folder / case["image"], case["prompt"])
        free = hidden(family.stages(model, inputs, sites))
        logits = head(norm(free))
        found = {f"all.{key}": value for key, value in lens(logits).items()}
        found |= {f"words.{key}": value for key, value in lens(logits[..., :words]).items()}
        for part, outputs in partial(model, layers, inputs).items():
            found |= {f"{part}.{key}": value for key, value in lens(head(norm(outputs)), logits[-1]).items()}
        held = hidden(family.stages(model, inputs, sites, mask)).double()
        free = free.double()
        found["masked.cosine"] = torch.cosine_similarity(free, held, dim=-1, eps=0).numpy()
        found["masked.distance"] = ((free - held).norm(dim=-1) / free.norm(dim=-1)).numpy()
        name = f"{folder.parent.name}-{case['name']}.safetensors"
        save_file({key: np.ascontiguousarray(value) for key, value in sorted(found.items())},
                  golden / "lens" / name)
        (golden / "lens" / name).chmod(0o644)
        cases.append({
            "architecture": folder.parent.name, "variant": variant, "case": case["name"],
            "words": words, "rows": logits.shape[-1], "expected": name,
        })
        print(name, tuple(logits.shape), words)
    return cases


def make(golden: Path) -> None:
    settle()
    (golden / "lens").mkdir(parents=True, exist_ok=True)
    cases = make_cases(golden, llava_next, "hub-f16", lambda m: (
        m.model.language_model.norm, m.lm_head, m.model.language_model.layers))
    cases += make_cases(golden, instructblip, "new-f16", lambda m: (
        m.language_model.model.norm, m.language_model.lm_head, m.language_model.model.layers))
    write_json(golden / "lens" / "cases.json", {"cases": cases})
