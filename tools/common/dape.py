"""Domain-specific neurons by the definition, with numpy alone: what mmq's are compared with."""

import math

import numpy as np


def entropies(p: np.ndarray) -> np.ndarray:
    """The entropy of p [neurons, domains] normalised over the domains, [neurons]."""
    total = np.zeros(len(p))
    for column in p.T:
        total += column
    entropy = np.zeros(len(p))
    for column in p.T:
        used = column > 0
        share = column[used] / total[used]
        # math.log, not numpy's: its vector form may differ in the last bit, which would move ties.
        entropy[used] += share * np.array([math.log(value) for value in share.tolist()])
    return -entropy


def neuron_sets(counts, tokens, top_rate: float, filter_rate: float, bar_rate: float):
    """`counts` [domains, layers, neurons], `tokens` [domains]. Returns the filter threshold, the activation bar,
    how many neurons are selected, and the sets, [domains][layers] ascending.

    p = count / tokens in float64; entropy of p normalised over the domains; the k-th smallest p,
    k = round(n x rate) with halves to even; neurons with no p above it last; the round(N x top rate) of least
    entropy, ties to the lower index; a domain gets those with p above the bar."""
    domains, layers, neurons = counts.shape
    p = (counts.astype(np.float64) / tokens.astype(np.float64).reshape(-1, 1, 1)).reshape(domains, -1).T
    ascending = np.sort(p, axis=None)
    threshold = ascending[round(p.size * filter_rate) - 1]
    bar = ascending[round(p.size * bar_rate) - 1]
    entropy = entropies(p)
    entropy[~(p > threshold).any(axis=1)] = math.inf
    order = np.lexsort((np.arange(len(p)), entropy))
    chosen = np.sort(order[: round(len(p) * top_rate)])
    sets = [[[] for _ in range(layers)] for _ in range(domains)]
    for domain in range(domains):
        for flat in chosen[p[chosen, domain] > bar].tolist():
            sets[domain][flat // neurons].append(flat % neurons)
    return threshold, bar, len(chosen), sets
