#!/usr/bin/env python3
"""Makes Tests/Golden/llava-next and Tests/Golden/instructblip: tiny random checkpoints and what
transformers computes with them. Running it again gives the same files to the byte.

    python3 -m venv venv && venv/bin/pip install -r tools/requirements.txt
    venv/bin/python tools/make_goldens.py [llava-next | instructblip] [VARIANT ...]
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch  # noqa: E402
import transformers  # noqa: E402

from goldens import instructblip, llava_next  # noqa: E402
from goldens.variant import make  # noqa: E402

GOLDEN = Path(__file__).resolve().parent.parent / "Tests" / "Golden"


def main(arguments: list[str]) -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.utils.logging.disable_progress_bar()
    wanted, names = arguments[:1], arguments[1:]
    if not wanted or wanted == ["llava-next"]:
        make(llava_next, GOLDEN / "llava-next", names)
    if not wanted or wanted == ["instructblip"]:
        make(instructblip, GOLDEN / "instructblip", names)


if __name__ == "__main__":
    main(sys.argv[1:])
