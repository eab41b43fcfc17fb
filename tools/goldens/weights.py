"""Random weights that keep the signal alive, and the files that hold them."""

import re
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from tools.common.files import write_json

TYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
TYPE_NAMES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}  # as config.json has them


def fill(model: torch.nn.Module, seed: int, *, logit_deviation: float = 1.3, eos_gain: float = 1) -> None:
    """Draws every parameter, in the order of the names: products keep the variance of what they
    are given, norms are near but not at one, biases are not zero, and the logits of a head over a
    normed state have about `logit_deviation`."""
    random = np.random.default_rng(seed)
    for name, parameter in sorted(model.named_parameters()):
        draw = torch.from_numpy(random.standard_normal(tuple(parameter.shape)).astype(np.float32))
        fan_in = parameter.shape[1:].numel() if parameter.dim() > 1 else 1
        if re.search(r"norm\w*\.(weight|bias)$", name, re.IGNORECASE):
            draw = 1 + 0.2 * draw if name.endswith("weight") else 0.15 * draw
        elif name.endswith("lm_head.weight"):
            draw *= logit_deviation / fan_in**0.5
            draw[2] *= eos_gain
        elif "embed_tokens" in name:
            tied = model.get_output_embeddings().weight is parameter
            draw *= logit_deviation / parameter.shape[1] ** 0.5 if tied else 1.0
        elif name.endswith(("image_newline", "query_tokens")):
            draw *= 1.0
        elif "embedding" in name and "patch_embedding" not in name:
            draw *= 0.7
        elif parameter.dim() > 1:
            gain = 1.6 if re.search(r"(q_proj|k_proj|query|key|qkv)\.weight$", name) else 1.0
            draw *= gain / fan_in**0.5
        else:
            draw *= 0.15
            if name.endswith("qkv.bias"):  # EVA: queries and values have a bias, keys have none
                draw.view(3, -1)[1] = 0
        with torch.no_grad():
            parameter.copy_(draw)


def stored(model: torch.nn.Module, kind: str, rename=lambda name: name) -> dict[str, torch.Tensor]:
    """A model's parameters as a checkpoint keeps them; a tied head appears once."""
    return {rename(name): parameter.detach().to(TYPES[kind]) for name, parameter in model.named_parameters()}


def hub_name(name: str) -> str:
    """The name that llava-hf's LLaVA-Next files use for a parameter of transformers 5."""
    for now, hub in (
        (r"^lm_head\.", "language_model.lm_head."),
        (r"^model\.language_model\.", "language_model.model."),
        (r"^model\.vision_tower\.", "vision_tower.vision_model."),
        (r"^model\.", ""),
    ):
        name, changed = re.subn(now, hub, name)
        if changed:
            break
    return name


def write_shards(tensors: dict[str, torch.Tensor], folder: Path, shards: int) -> None:
    """One `model.safetensors`, or `shards` files of about the same size with their index."""
    names = sorted(tensors)
    tensors = {name: tensors[name].contiguous().clone() for name in names}
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    sizes = {name: tensors[name].numel() * tensors[name].element_size() for name in names}
    total, place, held = sum(sizes.values()), {}, 0
    for name in names:
        place[name] = min(held * shards // total, shards - 1)
        held += sizes[name]
    files = [f"model-{i + 1:05d}-of-{shards:05d}.safetensors" for i in range(shards)]
    for i, file in enumerate(files):
        part = {name: tensors[name] for name in names if place[name] == i}
        save_file(part, folder / file, metadata={"format": "pt"})
    index = {"metadata": {"total_size": total}, "weight_map": {n: files[place[n]] for n in names}}
    write_json(folder / "model.safetensors.index.json", index)
