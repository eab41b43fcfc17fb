"""Tests/Golden/compat: what transformers 4.41.2 computes with golden checkpoints, for `--compat 4.41`.

Made in a virtual environment of its own, with that version (numpy 1.26, Pillow before 13, a torch for the CPU):

    OLD_VENV/bin/python tools/goldens compat

    images/<case>.png                     fourteen shapes: odd paddings, strips, tall ones, squares, a tiny one, and two
                                          whose unpadding hangs on single precision
    <architecture>/cases.json             `transformers`, `pillow`, `checkpoint` (a folder below Tests/Golden), and per
                                          case `image`, `prompt`, the greedy `tokens` (at most 24), `smallest_gap`,
                                          `nearest_to_zero`, `pixels` (CRC-32 of pixel_values as float32)
    <architecture>/expected.safetensors   <case>.input_ids (the picture's place not expanded), <case>.last_logits of the
                                          last position, <case>.<module>_log and _len
    unpadded.json                         `sizes`: [width, height, rows, columns, rows kept, columns kept] of pictures
                                          and the grids of features that they are cut out of, by `unpad_image`
    resized.json                          `pictures`: [width, height, new width, new height, CRC-32 of the samples] of
                                          pictures whose sample number i is i * i * 31 >> 3, modulo 256
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
from transformers.models.llava_next.modeling_llava_next import unpad_image

from tools.common.families import CHECKPOINTS
from tools.common.files import write_compact, write_json
from tools.common.paths import GOLDEN

from .pictures import draw
from .record import MAX_NEW_TOKENS, Sites

VERSION = "4.41"
QUESTION = "<image>\nWhat is shown in this picture?"
# Width and height. Tiles have 28 pixels: what the usual pictures are to tiles of 336, in small.
SHAPES = (
    (53, 40), (40, 53), (42, 42), (21, 21), (142, 183), (160, 90), (400, 45), (83, 33), (60, 200), (53, 36), (36, 53),
    (5, 41), (41, 82), (49, 98),
)


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
        "checkpoint": CHECKPOINTS[architecture], "cases": cases})


def unpadded() -> list[list[int]]:
    """What `unpad_image` keeps: of any picture, and of all small ones and some larger where double precision would keep
    another part."""
    def kept(width: int, height: int, rows: int, columns: int) -> tuple[int, int]:
        return tuple(unpad_image(torch.empty((1, rows, columns)), torch.tensor([height, width])).shape[1:])

    def exactly(width: int, height: int, rows: int, columns: int) -> tuple[int, int]:
        if width / height > columns / rows:
            return rows - (rows - int(height * (columns / width))) // 2 * 2, columns
        return rows, columns - (columns - int(width * (rows / height))) // 2 * 2

    draw = np.random.default_rng(441)
    found = []
    for side in (2, 24):
        grids = [(side * rows, side * columns) for rows, columns in ((1, 2), (2, 1), (2, 2), (3, 1), (1, 3))]
        for longest in (150, 4000, 2**31):
            for width, height in draw.integers(1, longest, (20, 2)).tolist():
                found += [[width, height, *grid, *kept(width, height, *grid)] for grid in grids]
        # Pictures that a grid divides without a rest.
        for rows, columns in grids:
            for part in range(1, rows):
                for many in range(1, 150):
                    width, height = columns * many, part * many
                    shape = (width, height, rows, columns)
                    if (result := kept(*shape)) != exactly(*shape):
                        found.append([*shape, *result])
    return found


def resized() -> list[list[int]]:
    """Pictures more than a hundred times as high as wide are resized down before across, when they get lower."""
    found = []
    for width, height, to in (
        (1, 101, (3, 7)), (2, 199, (5, 30)), (2, 200, (5, 30)), (2, 201, (5, 30)), (2, 300, (5, 30)), (3, 301, (2, 21)),
        (3, 301, (7, 302)), (2, 201, (5, 201)), (20, 160, (31, 9)),
    ):
        samples = np.arange(3 * width * height, dtype=np.uint64)
        picture = (samples * samples * 31 >> 3).astype(np.uint8).reshape(height, width, 3)
        result = Image.fromarray(picture).resize(to, Image.Resampling.BICUBIC)
        found.append([width, height, *to, zlib.crc32(result.tobytes())])
    return found


def make(golden: Path) -> None:
    if not transformers.__version__.startswith(VERSION):
        raise SystemExit(f"compat needs transformers {VERSION}.2, this is {transformers.__version__}")
    torch.set_num_threads(1)
    images = golden / "compat" / "images"
    images.mkdir(parents=True, exist_ok=True)
    write_compact(golden / "compat" / "unpadded.json", {"transformers": transformers.__version__, "sizes": unpadded()})
    write_compact(golden / "compat" / "resized.json", {"pillow": PIL.__version__, "pictures": resized()})
    for seed, (width, height) in enumerate(SHAPES):
        Image.fromarray(draw(width, height, 300 + seed)).save(images / f"{width}x{height}.png", optimize=True)
    for architecture, checkpoint in CHECKPOINTS.items():
        make_one(architecture, GOLDEN / checkpoint / "checkpoint", golden / "compat" / architecture, images)
