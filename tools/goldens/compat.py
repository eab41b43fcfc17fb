"""Tests/Golden/compat: what transformers 4.41.2 computes with golden checkpoints, for `--compat 4.41`.

Made in a virtual environment of its own, with that version (numpy 1.26, Pillow before 13, a torch for the CPU):

    OLD_VENV/bin/python tools/goldens compat

    images/<case>.png                   fourteen shapes: odd paddings, strips, tall ones, squares, a tiny one, two
                                        whose features single precision tips
    resize.json                         `cases`: [seed, width, height, new width, new height, crc32] of
                                        Image.resize(size, BICUBIC) of noise
    <checkpoint>/cases.json             `transformers`, `pillow`, `checkpoint`, and per case `image`, `prompt`, the
                                        greedy `tokens` (at most 24), `smallest_gap`, `nearest_to_zero`, `pixels`
                                        (CRC-32 of pixel_values as float32)
    <checkpoint>/expected.safetensors   <case>.input_ids (the picture's place not expanded), <case>.last_logits of the
                                        last position, <case>.<module>_log and _len
"""

import json
import os
import re
import shutil
import tempfile
import zlib
from pathlib import Path

import numpy as np
import PIL
import torch
import transformers
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from tools.common.files import write_json
from tools.common.paths import GOLDEN

from .pictures import draw, noise
from .record import MAX_NEW_TOKENS, Sites

VERSION = "4.41"
QUESTION = "<image>\nWhat is shown in this picture?"
# Golden checkpoints whose files both versions read alike.
CHECKPOINTS = {"llava-next": "hub-f16", "instructblip": "hub-f32", "llava-1.5": "hub-f16"}
# Width and height. Tiles have 28 pixels: what the usual pictures are to tiles of 336, in small.
SHAPES = (
    (53, 40), (40, 53), (42, 42), (21, 21), (142, 183), (160, 90), (400, 45), (83, 33), (60, 200), (53, 36), (36, 53),
    (5, 41), (41, 82), (49, 98),
)

# Where Pillow before 13 shrinks the height first, where it does not, and on both sides of the bounds.
RESIZES = [
    (3, 301, 3, 40), (3, 300, 3, 40), (3, 303, 2, 40), (3, 400, 5, 30), (3, 302, 2, 303), (1, 102, 2, 7),
    (1, 101, 2, 7), (1, 100, 2, 7), (40, 60, 30, 40), (40, 62, 30, 40), (40, 60, 50, 40), (60, 40, 30, 10),
    (2, 300, 9, 7), (1, 250, 1, 249),
]


def readable(checkpoint: Path, folder: Path) -> Path:
    """A copy that the old versions can read: merges in tokenizer.json as texts, the tower's tensors with the names of
    then."""
    # Links: a real checkpoint has gigabytes. What is changed is written anew in place of its link.
    shutil.copytree(checkpoint.resolve(), folder, copy_function=os.symlink)
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "np") as file:
            names = {name: re.sub(r"^vision_tower\.(?!vision_model\.)", "vision_tower.vision_model.", name)
                     for name in file.keys()}
        if any(old != new for old, new in names.items()):
            tensors = load_file(path)
            path.unlink()
            save_file({names[name]: value for name, value in tensors.items()}, path, metadata={"format": "pt"})
    for path in folder.rglob("tokenizer.json"):
        description = json.loads(path.read_text())
        if "merges" in description["model"]:
            description["model"]["merges"] = [
                merge if isinstance(merge, str) else " ".join(merge) for merge in description["model"]["merges"]]
            path.unlink()
            path.write_text(json.dumps(description))
    return folder


def load(architecture: str, folder: Path):
    options = dict(torch_dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    if architecture == "instructblip":
        options.pop("attn_implementation")
        model, notes = transformers.InstructBlipForConditionalGeneration.from_pretrained(folder, **options)
        processor = transformers.InstructBlipProcessor(
            transformers.BlipImageProcessor.from_pretrained(folder),
            transformers.AutoTokenizer.from_pretrained(folder),
            transformers.BertTokenizer.from_pretrained(folder / "qformer_tokenizer"))
        qformer = model.qformer.encoder.layer
        sites = {
            "encoder": [layer.mlp.activation_fn for layer in model.vision_model.encoder.layers],
            "qformer": [layer.intermediate.intermediate_act_fn for layer in qformer],
            "query": [layer.intermediate_query.intermediate_act_fn for layer in qformer],
        }
    else:
        name = {"llava-next": "LlavaNext", "llava-1.5": "Llava"}[architecture]
        images = {"llava-next": "LlavaNextImageProcessor", "llava-1.5": "CLIPImageProcessor"}[architecture]
        model, notes = getattr(transformers, name + "ForConditionalGeneration").from_pretrained(folder, **options)
        processor = getattr(transformers, name + "Processor")(
            getattr(transformers, images).from_pretrained(folder),
            transformers.AutoTokenizer.from_pretrained(folder))
        sites = {
            "vision": [layer.mlp.activation_fn for layer in model.vision_tower.vision_model.encoder.layers],
            "mmproj": [model.multi_modal_projector.act],
        }
    # A tensor that is not found would be drawn by chance.
    assert not notes["missing_keys"], notes["missing_keys"]
    sites["lang"] = [layer.mlp.act_fn for layer in model.language_model.model.layers]
    return model.eval(), processor, Sites(sites)


def greedy(model, inputs: dict) -> dict:
    result = model.generate(
        **inputs, do_sample=False, max_new_tokens=MAX_NEW_TOKENS, eos_token_id=2, pad_token_id=2,
        output_logits=True, return_dict_in_generate=True)
    best = [row[0].topk(2) for row in result.logits]
    return {
        "tokens": [int(top.indices[0]) for top in best],
        "smallest_gap": round(min(float(top.values[0] - top.values[1]) for top in best), 6),
    }


@torch.no_grad()
def make_one(architecture: str, checkpoint: Path, folder: Path, images: Path, shapes=SHAPES) -> None:
    """Compares with nothing: writes what this version computes."""
    folder.mkdir(parents=True, exist_ok=True)
    cases, expected = [], {}
    with tempfile.TemporaryDirectory() as temporary:
        model, processor, sites = load(architecture, readable(checkpoint, Path(temporary) / "checkpoint"))
    for width, height in shapes:
        name = f"{width}x{height}"
        with Image.open(images / f"{name}.png") as image:
            inputs = dict(processor(text=QUESTION, images=image.convert("RGB"), return_tensors="pt"))
        with sites.watch() as counts:
            logits = model(**inputs).logits[0, -1]
        nearest = sites.nearest
        found = {key: value for key, value in counts.items() if not key.endswith("_value")}
        found["input_ids"] = inputs["input_ids"][0].numpy().astype(np.int32)
        found["last_logits"] = logits.float().numpy()
        expected |= {f"{name}.{key}": np.ascontiguousarray(value) for key, value in found.items()}
        cases.append({
            "name": name, "image": f"../images/{name}.png", "prompt": QUESTION, **greedy(model, inputs),
            "nearest_to_zero": float(f"{nearest:.2e}"),
            "pixels": zlib.crc32(np.ascontiguousarray(inputs["pixel_values"].numpy(), "<f4").tobytes()),
        })
        print(architecture, name, {key: int(value[0]) for key, value in counts.items() if key.endswith("_len")},
              cases[-1]["smallest_gap"], cases[-1]["nearest_to_zero"])
    save_file(expected, folder / "expected.safetensors")
    (folder / "expected.safetensors").chmod(0o644)
    write_json(folder / "cases.json", {
        "transformers": transformers.__version__, "pillow": PIL.__version__,
        "checkpoint": f"{architecture}/{CHECKPOINTS[architecture]}", "cases": cases})


def make(golden: Path) -> None:
    if not transformers.__version__.startswith(VERSION):
        raise SystemExit(f"compat needs transformers {VERSION}.2, this is {transformers.__version__}")
    torch.set_num_threads(1)
    images = golden / "compat" / "images"
    images.mkdir(parents=True, exist_ok=True)
    for seed, (width, height) in enumerate(SHAPES):
        Image.fromarray(draw(width, height, 300 + seed)).save(images / f"{width}x{height}.png", optimize=True)
    cases = []
    for seed, (width, height, *size) in enumerate(RESIZES):
        resized = Image.fromarray(noise(width, height, seed)).resize(size, Image.BICUBIC)
        cases.append([seed, width, height, *size, zlib.crc32(resized.tobytes())])
    write_json(golden / "compat" / "resize.json", {"pillow": PIL.__version__, "cases": cases}, None)
    for architecture, variant in CHECKPOINTS.items():
        make_one(architecture, GOLDEN / architecture / variant / "checkpoint", golden / "compat" / architecture, images)
