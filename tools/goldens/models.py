"""Tests/Golden/llava-next, instructblip and llava-1.5: tiny random checkpoints and what transformers computes with
them."""

from pathlib import Path

from . import instructblip, llava15, llava_next, variant
from .reference import settle

FAMILIES = {"llava-next": llava_next, "instructblip": instructblip, "llava-1.5": llava15}


def make(golden: Path, architecture: str, variants: list[str]) -> None:
    """All variants of an architecture, or those named."""
    settle()
    variant.make(FAMILIES[architecture], golden / architecture, variants)
