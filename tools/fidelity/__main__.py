"""A real language model to measure number formats on, and the table of what each does to it."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])

from tools.common.commands import run

run("fidelity", __doc__, {
    "model": ("model", "makes a LLaVA-Next folder around SmolLM2-135M, and a bench of English text"),
    "measure": ("measure", "what each type does to it: divergence, most probable token, gate signs"),
    "llama": ("llama", "whether llama.cpp goes on with the same text from files that mmq made"),
})
