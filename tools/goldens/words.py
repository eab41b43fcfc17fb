"""Tests/Golden/words: the words that neurons of the decoder write, by PyTorch in float64 on the weights as they are
stored.

One file per checkpoint and type, `<architecture>-<type>.safetensors`: `neurons` i32 [neurons, layer and number], for
each the ten words whose logits its column of down_proj raises and lowers most through the final norm's gains and the
head, `raised_ids`, `lowered_ids` i32 [neurons, 10] and `raised`, `lowered` f32, before any norm. Every fifth neuron is
taken, if its words are clear of ties.
"""

from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.numpy import save_file

from .interventions import VARIANTS
from .models import FAMILIES
from .reference import settle

TOP = 10
# Of neighbours among the first eleven, as a part of the greatest.
SMALLEST_GAP = 1e-5
TYPES = {"f16": gguf.GGMLQuantizationType.F16, "q8_0": gguf.GGMLQuantizationType.Q8_0}


def stored(weight: torch.Tensor, kind: gguf.GGMLQuantizationType) -> torch.Tensor:
    """What a file of that type holds of a matrix."""
    values = weight.detach().float().numpy()
    return torch.from_numpy(gguf.dequantize(gguf.quantize(values, kind), kind)).double()


def ending(state: dict[str, torch.Tensor], end: str) -> list[torch.Tensor]:
    """The tensors of that name in the decoder, layer by layer."""
    return [value for name, value in state.items()
            if name.endswith(end) and "vision" not in name and "qformer" not in name]


def words_of(model, kind: gguf.GGMLQuantizationType) -> dict[str, np.ndarray]:
    state = model.state_dict()
    head = stored(ending(state, "lm_head.weight")[0], kind)
    gain = ending(state, "language_model.norm.weight") + ending(state, "language_model.model.norm.weight")
    rows = {name: [] for name in ("neurons", "raised_ids", "raised", "lowered_ids", "lowered")}
    number = 0
    for layer, down in enumerate(ending(state, "mlp.down_proj.weight")):
        logits = (stored(down, kind) * gain[0].double()[:, None]).T @ head.T
        for neuron, row in enumerate(logits):
            number += 1
            if number % 5:
                continue
            order = torch.argsort(row, descending=True, stable=True)
            back = torch.argsort(row, stable=True)
            limit = SMALLEST_GAP * row.abs().max()
            if any((row[some[: TOP + 1]].diff().abs() < limit).any() for some in (order, back)):
                continue
            rows["neurons"].append([layer, neuron])
            for name, some in (("raised", order[:TOP]), ("lowered", back[:TOP])):
                rows[f"{name}_ids"].append(some.numpy())
                rows[name].append(row[some].numpy())
    return {name: np.array(values, np.float32 if name in ("raised", "lowered") else np.int32)
            for name, values in rows.items()}


@torch.no_grad()
def make(golden: Path) -> None:
    settle()
    (golden / "words").mkdir(parents=True, exist_ok=True)
    for name, variant in VARIANTS.items():
        model, _ = FAMILIES[name].load(golden / name / variant / "checkpoint")
        for word, kind in TYPES.items():
            path = golden / "words" / f"{name}-{word}.safetensors"
            save_file(words_of(model, kind), path)
            path.chmod(0o644)
