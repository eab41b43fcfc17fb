"""Compares `mmq --compat 4.41` with transformers 4.41.2 on any checkpoint folder, over pictures of fourteen shapes.

    OLD_VENV/bin/python tools/check compat CHECKPOINT [--mmq .build/release/mmq] [--largest 400]

OLD_VENV is a virtual environment with transformers 4.41.2, numpy 1.26 and a Pillow before 13. Pictures are drawn, as
large to the checkpoint's tiles as usual ones are to tiles of 336, with at most `--largest` pixels a side if given.
Prints the share of counts that are identical and what differs. Exit code 1 if token ids, numbers of tokens or greedy
answers (where they do not hang on a tie) do, or less than 99.9 % of the counts are identical.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import load_file

from tools.check.stored import stored_type
from tools.common.commands import output_of, parser
from tools.common.families import ARCHITECTURES
from tools.common.paths import MMQ
from tools.goldens.compat import QUESTION, SHAPES, greedy, load, readable
from tools.goldens.pictures import draw

TILE = 28  # what SHAPES are made for


def shapes(side: int, largest: int | None):
    for width, height in SHAPES:
        scale = side / TILE
        if largest:
            scale = min(scale, largest / max(width, height))
        # Odd ones stay odd: paddings hang on it.
        yield tuple(max(1, round((length - length % 2) * scale / 2) * 2 + length % 2) for length in (width, height))


def differences(ours: dict, theirs: dict, ids: list[int], image_token: int | None) -> tuple[list[str], int, int]:
    """What differs, how many counts there are, and how many of them are not alike."""
    found, counts, wrong = [], 0, 0
    kept = ours["input_ids"].tolist()
    # The picture's places: 4.41 has one for LLaVA's, none for InstructBLIP's.
    if image_token is None:
        kept = kept[len(kept) - len(ids):]
    else:
        kept = [token for place, token in enumerate(kept) if not (
            token == image_token and place and kept[place - 1] == image_token)]
    if kept != ids:
        found.append("ids")
    for name, value in theirs.items():
        if name.endswith("_len") and ours[name].tolist() != value.tolist():
            found.append(f"{name} {int(ours[name][0])} for {int(value[0])}")
        if name.endswith("_log"):
            counts += value.size
            wrong += int((ours[name] != value).sum())
    return found, counts, wrong


@torch.no_grad()
def main() -> int:
    given = parser(__doc__)
    given.add_argument("checkpoint", type=Path)
    given.add_argument("--mmq", type=Path, default=MMQ)
    given.add_argument("--largest", type=int)
    options = given.parse_args()
    config = json.loads((options.checkpoint / "config.json").read_text())
    architecture = ARCHITECTURES[config["model_type"]]
    stored, failed, total, odd, answers = stored_type(options.checkpoint), 0, 0, 0, 0
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        model, processor, sites = load(architecture, readable(options.checkpoint, work / "checkpoint"))
        output_of([options.mmq, "convert", options.checkpoint, "--output", work / "model", "--type", stored,
                   "--vision-type", stored])
        for seed, (width, height) in enumerate(shapes(model.config.vision_config.image_size, options.largest)):
            path = work / "picture.png"
            Image.fromarray(draw(width, height, 300 + seed)).save(path)
            with Image.open(path) as image:
                inputs = dict(processor(text=QUESTION, images=image.convert("RGB"), return_tensors="pt"))
            with sites.watch() as theirs:
                model(**inputs)
            common = ["--model", work / "model", "--compat", "4.41", "--image", path]
            output_of([options.mmq, "trace", *common, "--prompt", QUESTION, "--output", work / "trace", "--sites",
                       "ids,counts"])
            found, counts, wrong = differences(
                load_file(work / "trace"), theirs, inputs["input_ids"][0].tolist(),
                None if architecture == "instructblip" else model.config.image_token_index)
            total, odd = total + counts, odd + wrong
            reference = greedy(model, inputs)
            answer = json.loads(output_of([
                options.mmq, "ask", *common, "--greedy", "--raw-prompt", "--max-tokens", "24", "--json", QUESTION]))
            if reference["smallest_gap"] >= 5e-3:
                answers += 1
                if answer["tokens"] != reference["tokens"]:
                    found.append("greedy tokens")
            failed += bool(found)
            tokens = int(np.asarray(theirs["lang_len"])[0])
            print(f"{width} x {height}: {tokens} tokens, {counts - wrong} of {counts} counts identical"
                  + "".join(f", {what} differ" for what in found))
    share = 100 * (1 - odd / max(1, total))
    print(f"{share:.4f} % of the counts identical, {answers} answers compared, {failed} shapes with differences")
    return 1 if failed or share < 99.9 else 0
