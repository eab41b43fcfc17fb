"""Times mmq, and other engines on the same machine. docs/speed.md says where the time goes."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])

from tools.common.commands import run

run("bench", __doc__, {
    "model": ("model", "a converted model, or the tiny one"),
    "versus": ("versus", "mmq and llama.cpp or a fork of it, in turn"),
    "merge": ("merge", "mmq merge over shards of the shape of 7B"),
    "shards": ("shards", "a study as shards and merged, and as one run"),
    "transformers": ("transformers", "transformers, at the shape of 7B"),
})
