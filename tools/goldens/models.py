"""Tests/Golden/llava-next and Tests/Golden/instructblip: tiny random checkpoints and what transformers computes with
them."""

from pathlib import Path

from . import instructblip, llava_next, variant
from .reference import settle

FAMILIES = {"llava-next": llava_next, "instructblip": instructblip}


def make(golden: Path, architecture: str, variants: list[str]) -> None:
    """All variants of an architecture, or those named."""
    settle()
    variant.make(FAMILIES[architecture], golden / architecture, variants)
