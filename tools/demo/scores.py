"""How good a guess from the question alone is, by each data set's own measure in a plain form."""

import random
from collections import Counter, defaultdict

from tools.common.distance import levenshtein

from . import prompts
from .scenes import DOMAINS, Asked


def similarity(one: str, other: str) -> float:
    """DocVQA's: one minus the edit distance over the longer length, nothing below one half."""
    score = 1 - levenshtein(one, other) / max(len(one), len(other), 1)
    return score if score >= 0.5 else 0.0


def score(domain: str, answer: str, asked: Asked, given: list[str] | None = None) -> float:
    """`given` are the ten annotators' answers for `com`."""
    if domain == "doc":
        return similarity(answer.lower(), asked.answer.lower())
    if domain == "com" and given:
        return sum(min(1, (given.count(answer) - (one == answer)) / 3) for one in given) / len(given)
    return float(answer == asked.answer)


def majority(seed: int, scenes: int = 2000) -> dict[str, dict[str, str]]:
    """For every prompt of every domain the answer it most often has in many scenes."""
    found = {}
    for domain, draw in DOMAINS.items():
        draw_from = random.Random(f"{seed} majority {domain}")
        answers = defaultdict(Counter)
        for _ in range(scenes):
            for asked in draw(draw_from).asked:
                answers[prompts.full(domain, asked)][asked.answer] += 1
        found[domain] = {prompt: counts.most_common(1)[0][0] for prompt, counts in answers.items()}
    return found
