"""Makes the goldens of Tests/Golden anew from the reference implementations (transformers, Pillow, pandas, gguf and
Python itself). Running it again gives the same files to the byte.

    .build/venv/bin/python tools/goldens [WHAT ...] [--into FOLDER]

WHAT is a folder of Tests/Golden, or one variant of a model's, as llava-next/hub-f16; without it all are made.
--into takes another folder in the place of Tests/Golden; what needs the checkpoints finds them there.
"""

import os
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])

from tools.common.commands import import_module, parser
from tools.common.families import CHECKPOINTS
from tools.common.paths import GOLDEN

# In the order in which they are made: formats, lens, interventions, activations and words read the checkpoints.
MODULES = {
    **dict.fromkeys(CHECKPOINTS, "models"), "formats": "formats", "ggml": "ggml", "lens": "lens",
    "interventions": "interventions", "activations": "activations", "words": "words", "lingo-judge": "judge",
    "text": "text", "image": "image", "bench": "bench", "study": "study", "evaluation": "evaluation",
    "compat": "compat",
}
# Those that need something else than requirements.txt: made where they are asked for.
ASKED = ("compat",)


def main() -> None:
    sys.argv[0] = "tools/goldens"
    options = parser(__doc__)
    options.add_argument("what", nargs="*", metavar="WHAT", help=", ".join(MODULES))
    options.add_argument("--into", type=Path, default=GOLDEN, metavar="FOLDER")
    given = options.parse_args()
    variants: dict[str, list[str]] = {}
    for word in given.what or [name for name in MODULES if name not in ASKED]:
        name, _, variant = word.partition("/")
        if name not in MODULES or (variant and MODULES[name] != "models"):
            options.error(f"{word}: expected one of {', '.join(MODULES)}")
        variants.setdefault(name, []).extend([variant] if variant else [])
    if "compat" in variants and len(variants) > 1:
        options.error("compat is made with another transformers: see tools/goldens/compat.py")
    if "ggml" in given.what and not os.environ.get("GGML_BASE"):
        options.error("ggml needs GGML_BASE=.../libggml-base.so, from a build of llama.cpp")
    for name in (name for name in MODULES if name in variants):
        print(f"{name} ...", flush=True)
        module = import_module(f"tools.goldens.{MODULES[name]}")
        if MODULES[name] == "models":
            module.make(given.into, name, variants[name])
        else:
            module.make(given.into)


if __name__ == "__main__":
    main()
