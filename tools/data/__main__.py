"""Makes data sets and checkpoints into what mmq reads."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])

from tools.common.commands import run

run("data", __doc__, {
    "prepare": ("prepare", "downloaded benches (parquet, .tif) into JSONL and PNG"),
    "official": ("official", "torch files of the official MMNeuron scripts into what `mmq import` reads"),
    "shape": ("shape", "a checkpoint of random weights in a real model's shape"),
})
