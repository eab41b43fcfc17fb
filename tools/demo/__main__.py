"""Makes what the demo runs on: models trained from scratch on drawn pictures, and their bench. README.md beside this
file says what is in the modules."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])

from tools.common.commands import run

run("demo", __doc__, {
    "bench": ("bench", "draws models/demo/bench"),
    "train": ("train", "trains a model and saves its Hugging Face folder"),
    "measure": ("measure", "a model's accuracy through mmq, and its answers against transformers'"),
})
