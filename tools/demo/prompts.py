"""The prompts round a drawn question."""

from tools.common import prompts
from tools.common.prompts import instruct, vicuna

from .scenes import Asked

__all__ = ["full", "instruct", "plain", "vicuna"]


def full(domain: str, asked: Asked) -> str:
    """The prompt of the generation pass, without what stands for the picture."""
    return prompts.full(domain, asked.question, asked.choices)


def plain(domain: str, asked: Asked) -> str:
    """The question alone; lettered choices have to be told in some way."""
    return asked.question if domain != "med" else f"{asked.question} {', '.join(asked.choices)}"
