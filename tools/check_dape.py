"""Recomputes domain-specific neurons from exported counts and compares them with the exported sets.

    mmq export --study STUDY --output OUT
    python tools/check_dape.py OUT/<model> [MODULE ...]

Independent of mmq: numpy and the definition. p = count / tokens in float64; entropy of p normalised over the domains; the
k-th smallest p, k = round(n × rate) with halves to even; neurons with no p above it last; the round(N × top rate) of least
entropy, ties to the lower index; a domain gets those with p above the bar. Exits with 1 on any difference.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file


def neuron_sets(counts, tokens, settings):
    """counts [domains, layers, neurons]; the sets, [domains][layers] ascending."""
    domains, layers, neurons = counts.shape
    p = (counts.astype(np.float64) / tokens.astype(np.float64).reshape(-1, 1, 1)).reshape(domains, -1).T
    ascending = np.sort(p, axis=None)
    threshold = ascending[round(p.size * settings["filter_rate"]) - 1]
    bar = ascending[round(p.size * settings["activation_bar"]) - 1]
    total = np.zeros(len(p))
    for domain in range(domains):
        total += p[:, domain]
    entropy = np.zeros(len(p))
    for domain in range(domains):
        used = p[:, domain] > 0
        share = p[used, domain] / total[used]
        # math.log, not numpy's: its vector form may differ in the last bit, which would move ties.
        entropy[used] += share * np.array([math.log(value) for value in share.tolist()])
    entropy = -entropy
    entropy[~(p > threshold).any(axis=1)] = math.inf
    order = np.lexsort((np.arange(len(p)), entropy))
    chosen = np.sort(order[: round(len(p) * settings["top_rate"])])
    sets = [[[] for _ in range(layers)] for _ in range(domains)]
    for domain in range(domains):
        for flat in chosen[p[chosen, domain] > bar].tolist():
            sets[domain][flat // neurons].append(flat % neurons)
    return threshold, bar, len(chosen), sets


def main():
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    masks = sorted((folder / "mask").glob("*.json"))
    wanted = sys.argv[2:]
    masks = [path for path in masks if not wanted or path.stem in wanted]
    if not masks or len(masks) < len(wanted):
        sys.exit(f"check_dape: {folder / 'mask'}: not all modules are there")
    same = True
    for path in masks:
        mask = json.loads(path.read_text())
        module, domains, settings = path.stem, mask["domains"], mask["settings"]
        files = [load_file(folder / "activation" / f"{domain}.safetensors") for domain in domains]
        counts = np.stack([file[f"{module}_log"] for file in files])
        tokens = np.concatenate([file[f"{module}_len"] for file in files])
        threshold, bar, selected, sets = neuron_sets(counts, tokens, settings)
        differing = [domain for domain, found in zip(domains, sets) if found != mask["neurons"][domain]]
        if threshold != settings["filter_threshold"] or bar != settings["activation_threshold"]:
            differing.append("thresholds")
        if selected != settings["selected"]:
            differing.append("number selected")
        sizes = ", ".join(f"{domain} {sum(map(len, found))}" for domain, found in zip(domains, sets))
        print(f"{module}: {selected} selected; {sizes}: {'DIFFERENT: ' + ', '.join(differing) if differing else 'identical'}")
        same = same and not differing
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
