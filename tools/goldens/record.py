"""Counts activations as they pass, switches neurons off, and runs the greedy continuation."""

from contextlib import contextmanager

import numpy as np
import torch

MAX_NEW_TOKENS = 24


class Sites:
    """The outputs of the activation functions of a model, by module: `modules[name]` holds one
    torch module per layer, whose output [..., neurons] is the neurons' value."""

    def __init__(self, modules: dict[str, list[torch.nn.Module]]):
        self.modules = modules
        self.neurons: dict[str, int] = {}
        # The least distance from zero of what the activation functions were given, last pass.
        self.nearest = float("inf")

    @contextmanager
    def watch(self, mask: dict | None = None, count: bool = True):
        """Yields {"<module>_log", "<module>_value", "<module>_len"}: complete when the forward
        pass is. A masked neuron is 0 before it is counted and before what follows sees it."""
        counts, handles, tokens = {}, [], {}
        self.nearest = float("inf")

        def hook(module: str, layer: int):
            def seen(_, given, output):
                self.nearest = min(self.nearest, float(given[0].abs().min()))
                value = output
                if mask and mask.get(module):
                    value = output.clone()
                    value[..., mask[module][layer]] = 0
                rows = value.detach().reshape(-1, value.shape[-1])
                self.neurons[module] = rows.shape[-1]
                if count:
                    layers = len(self.modules[module])
                    log = counts.setdefault(
                        f"{module}_log", np.zeros((layers, rows.shape[-1]), np.int64))
                    sums = counts.setdefault(
                        f"{module}_value", np.zeros((layers, rows.shape[-1]), np.float64))
                    log[layer] += (rows > 0).sum(dim=0).numpy()
                    sums[layer] += rows.to(torch.float64).sum(dim=0).numpy()
                    tokens.setdefault(module, [0] * layers)[layer] += len(rows)
                return value

            return seen

        for module, layers in self.modules.items():
            for layer, function in enumerate(layers):
                handles.append(function.register_forward_hook(hook(module, layer)))
        try:
            yield counts
        finally:
            for handle in handles:
                handle.remove()
        for module, seen in tokens.items():
            assert len(set(seen)) == 1, f"{module}: layers saw different numbers of tokens: {seen}"
            counts[f"{module}_len"] = np.array([seen[0]], np.int64)

    def random_mask(self, seed: int, share: float = 0.08) -> dict[str, list[list[int]]]:
        """A few neurons of every layer of every module, at least one."""
        random = np.random.default_rng(seed)
        mask = {}
        for module, layers in self.modules.items():
            neurons = self.neurons[module]
            chosen = max(1, round(neurons * share))
            mask[module] = [
                sorted(int(i) for i in random.choice(neurons, chosen, replace=False))
                for _ in layers
            ]
        return mask


def outputs_of(layers, run) -> tuple[list[torch.Tensor], object]:
    """What each of `layers` gives back while `run()` runs, and what `run` returns."""
    seen, handles = [None] * len(layers), []
    for i, layer in enumerate(layers):
        def keep(_, __, output, i=i):
            seen[i] = (output[0] if isinstance(output, tuple) else output).detach().clone()
        handles.append(layer.register_forward_hook(keep))
    try:
        result = run()
    finally:
        for handle in handles:
            handle.remove()
    return seen, result


def greedy(model, inputs: dict, eos: int, every_gap: bool = False) -> dict:
    """The greedy continuation, at most 24 tokens, and how near it came to a tie: the least distance
    between the best and the second logit, and with `every_gap` the distance at each step."""
    result = model.generate(
        **inputs, do_sample=False, max_new_tokens=MAX_NEW_TOKENS, eos_token_id=eos,
        pad_token_id=eos, output_logits=True, return_dict_in_generate=True,
    )
    steps = len(result.logits)
    gaps = [float(top[0] - top[1]) for top in (row[0].topk(2).values for row in result.logits)]
    found = {
        "tokens": [int(t) for t in result.sequences[0][-steps:]],
        "smallest_gap": round(min(gaps), 6),
    }
    return found | {"gaps": gaps} if every_gap else found
