"""The LLaVA-Next goldens."""

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import save_file
from transformers import (
    LlamaTokenizer,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessorPil,
    LlavaNextProcessor,
)

from . import pictures, weights
from .record import NearTie, Sites, first_clear, greedy, outputs_of
from .vocabulary import write_json, write_llama_tokenizer

MEAN = [0.48145466, 0.4578275, 0.40821073]
DEVIATION = [0.26862954, 0.26130258, 0.27577711]
VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the user's questions. USER: {} ASSISTANT:"
)
# A greedy run of a recorded case never comes nearer to a tie than this (the bar is 5e-3): of the
# prompts of a case the first is taken that keeps the distance, with and without the mask.
SMALLEST_GAP = 0.01
# Nor does any activation of the prompt pass lie nearer to zero, where a last bit decides whether it
# counts: who computes in float32 counts the same.
NEAREST_TO_ZERO = 2e-5

RAW = "<image>\n{}"
SHORT = "<image>\n{}\nAnswer the question using a single word or phrase."
MIDDLE = "What colour is <image> the car?  {}"
UNICODE = "<image>\n{} caf\u00e9,  \u96ea \U0001f600\te\u0301!"
FORMS = {
    "wide": RAW, "tall": VICUNA.format(RAW), "square": SHORT, "small": UNICODE, "odd": MIDDLE,
}
QUESTIONS = (
    "What is shown in this picture?", "How many buildings are there?", "Is there a road?",
    "Describe the picture.", "What is the date of the letter?", "Is the traffic light green?",
    "Where does the person sit?", "What are they holding?", "Which is the largest area?",
    "Is a residential building present?", "What is the name at the top of the page?",
    "Who is riding a wave?", "What do you see to the left?", "How many dogs play with a ball?",
    "Which of the options is right?", "What is the number of trees?", "Is it day or night?",
    "What does the arrow point at?", "Can the car drive on?", "What is written on the page?",
    "Is there a water area?", "What colour is the road?", "Why is the light red?", "What is it?",
    "Tell me about the second building.", "How large is the area?", "Which letter comes first?",
    "Do two people walk?", "Where is the ball?", "What happens next?", "Is this a photo?", "Why?",
)


def grid(tile: int, *tiles: tuple[int, int]) -> list[list[int]]:
    """Grid pinpoints (height, width) from numbers of tiles (down, across)."""
    return [[tile * down, tile * across] for down, across in tiles]


LLAVA_TILES = ((1, 2), (2, 1), (2, 2), (3, 1), (1, 3))

# What each variant is there for stands in `covers`. Keys absent from `text` and `vision` are left
# out of config.json too, as the hub's files leave out what equals transformers' default.
VARIANTS = {
    "hub-f16": {
        "covers": "hub names, one file, f16, grouped-query attention, layer -2, tokenizer.json, "
        "preprocessor_config.json + processor_config.json, rows of the vocabulary without a token",
        "type": "f16", "names": "hub", "shards": 1, "pieces": 448, "vocabulary": 480,
        "tiles": LLAVA_TILES, "layer": -2, "processor": "old", "legacy": False,
        "tokenizer": ("tokenizer.json", "tokenizer.model"),
        "text": dict(hidden_size=64, intermediate_size=96, num_hidden_layers=3,
                     num_attention_heads=4, num_key_value_heads=2, rms_norm_eps=1e-5,
                     max_position_embeddings=4096, pad_token_id=0),
        "vision": dict(hidden_size=64, intermediate_size=96, num_hidden_layers=3,
                       num_attention_heads=4, image_size=28, patch_size=14, projection_dim=32,
                       vocab_size=32000),
        "cases": ("wide", "tall", "square", "small"), "seed": 11,
    },
    "shards-bf16": {
        "covers": "transformers-5 names under `model.`, two shards, bf16, multi-head attention, "
        "3 x 3 patches, layer -1, tied head, rope theta 1e6, processor_config.json alone",
        "type": "bf16", "names": "model", "shards": 2, "pieces": 416, "vocabulary": 418,
        "tiles": ((1, 2), (2, 1), (2, 2), (1, 4)), "layer": -1, "processor": "new",
        "legacy": False, "tokenizer": ("tokenizer.json",), "tied": True,
        "text": dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2,
                     num_attention_heads=4, num_key_value_heads=4, rms_norm_eps=1e-6,
                     rope_parameters={"rope_theta": 1e6, "rope_type": "default"}),
        "vision": dict(hidden_size=64, intermediate_size=96, num_hidden_layers=3,
                       num_attention_heads=2, image_size=42, patch_size=14, projection_dim=32),
        "cases": ("wide", "tall", "small"), "seed": 12,
    },
    "plain-f32": {
        "covers": "the names save_pretrained of transformers 5 writes by default, one file, f32, "
        "multi-query attention, 16-pixel patches, layer -3, tokenizer.model alone with the legacy "
        "prefix space, preprocessor_config.json alone, runs that stop at eos",
        "type": "f32", "eos_gain": 2, "names": "plain", "shards": 1, "pieces": 400, "vocabulary": 402,
        "tiles": ((2, 2), (1, 3), (2, 1)), "layer": -3, "processor": "older",
        "legacy": True, "tokenizer": ("tokenizer.model",),
        "text": dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2,
                     num_attention_heads=4, num_key_value_heads=1, rms_norm_eps=1e-5,
                     rope_theta=10000.0),
        "vision": dict(hidden_size=32, intermediate_size=64, num_hidden_layers=4,
                       num_attention_heads=2, image_size=32, patch_size=16, projection_dim=32),
        "cases": ("square", "odd", "tall"), "seed": 13,
    },
    "shards-f16": {
        "covers": "hub names, three shards, f16, hidden 128, grouped-query attention, flat rope "
        "theta 5e5, other grid, tokenizer.json with the legacy prefix space as a normalizer",
        "type": "f16", "names": "hub", "shards": 3, "pieces": 384, "vocabulary": 386,
        "tiles": ((1, 1), (2, 3), (3, 1)), "layer": -2, "processor": "old",
        "legacy": True, "tokenizer": ("tokenizer.json",), "old_json": True,
        "text": dict(hidden_size=128, intermediate_size=96, num_hidden_layers=2,
                     num_attention_heads=4, num_key_value_heads=2, rms_norm_eps=1e-5,
                     rope_theta=500000.0),
        "vision": dict(hidden_size=32, intermediate_size=96, num_hidden_layers=2,
                       num_attention_heads=1, image_size=28, patch_size=14, projection_dim=32),
        "cases": ("wide", "small", "odd"), "seed": 14,
    },
}


def config_json(variant: dict) -> dict:
    side = variant["vision"]["image_size"]
    text = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]} | variant["text"]
    text["vocab_size"] = variant["vocabulary"]
    if variant.get("tied"):
        text["tie_word_embeddings"] = True
    dtype = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}[variant["type"]]
    config = {
        "architectures": ["LlavaNextForConditionalGeneration"],
        "image_grid_pinpoints": grid(side, *variant["tiles"]),
        "image_token_index": variant["pieces"],
        "model_type": "llava_next",
        "projector_hidden_act": "gelu",
        "text_config": text,
        "tie_word_embeddings": bool(variant.get("tied")),
        "vision_config": {"model_type": "clip_vision_model"} | variant["vision"],
        "vision_feature_layer": variant["layer"],
        "vision_feature_select_strategy": "default",
    }
    if variant["names"] == "hub":
        config |= {"torch_dtype": dtype, "ignore_index": -100, "use_image_newline_parameter": True,
                   "vocab_size": variant["vocabulary"]}
    else:
        config |= {"dtype": dtype, "image_seq_length": 576, "multimodal_projector_bias": True,
                   "transformers_version": "5.23.0"}
    return config


def write_processor(folder: Path, variant: dict) -> None:
    side, patch = variant["vision"]["image_size"], variant["vision"]["patch_size"]
    image = {
        "crop_size": {"height": side, "width": side}, "do_center_crop": True,
        "do_convert_rgb": True, "do_normalize": True, "do_pad": True, "do_rescale": True,
        "do_resize": True, "image_grid_pinpoints": grid(side, *variant["tiles"]),
        "image_mean": MEAN, "image_processor_type": "LlavaNextImageProcessor",
        "image_std": DEVIATION, "resample": 3, "rescale_factor": 1 / 255,
        "size": {"shortest_edge": side},
    }
    text = {
        "image_token": "<image>", "num_additional_image_tokens": 1, "patch_size": patch,
        "processor_class": "LlavaNextProcessor", "vision_feature_select_strategy": "default",
    }
    if variant["processor"] == "new":
        write_json(folder / "processor_config.json", {"image_processor": image} | text)
    else:
        image |= {"aspect_ratio_setting": "anyres", "processor_class": "LlavaNextProcessor"}
        write_json(folder / "preprocessor_config.json", image)
        if variant["processor"] == "old":
            write_json(folder / "processor_config.json", text)


def write_checkpoint(folder: Path, variant: dict, seed: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = config_json(variant)
    model = LlavaNextForConditionalGeneration(LlavaNextConfig(**config))
    weights.fill(model, seed, eos_gain=variant.get("eos_gain", 1))
    rename = {
        "hub": weights.hub_name,
        "model": lambda name: name,
        "plain": lambda name: weights.hub_name(name).replace(
            "vision_tower.vision_model.", "vision_tower."),
    }[variant["names"]]
    tensors = {
        rename(name): parameter.detach().to(weights.TYPES[variant["type"]])
        for name, parameter in model.named_parameters()  # a tied head appears once
    }
    weights.write_shards(tensors, folder, variant["shards"])
    write_json(folder / "config.json", config)
    write_json(folder / "generation_config.json",
               {"_from_model_config": True, "bos_token_id": 1, "eos_token_id": 2,
                "pad_token_id": 0, "transformers_version": "5.23.0"})
    write_llama_tokenizer(folder, variant["pieces"], ["<image>", "<pad>"],
                          legacy=variant["legacy"], files=variant["tokenizer"],
                          old_json=variant.get("old_json", False))
    write_processor(folder, variant)


def load(folder: Path):
    """The checkpoint as the reference runs it: float32, eager attention, Pillow's pictures."""
    model, notes = LlavaNextForConditionalGeneration.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    model.eval()
    assert not any(notes.values()), notes  # every tensor found and used
    if (folder / "processor_config.json").exists():
        processor = LlavaNextProcessor.from_pretrained(folder)
    else:
        # What processor_config.json would say follows from the model's config. LlamaTokenizer is
        # the class that tokenizer_config.json names; for tokenizer.model alone AutoTokenizer takes
        # another, which forgets the prefix space.
        processor = LlavaNextProcessor(
            LlavaNextImageProcessorPil.from_pretrained(folder),
            LlamaTokenizer.from_pretrained(folder),
            patch_size=model.config.vision_config.patch_size,
            vision_feature_select_strategy=model.config.vision_feature_select_strategy,
            num_additional_image_tokens=1)
    assert isinstance(processor.image_processor, LlavaNextImageProcessorPil)
    return model, processor


def sites_of(model) -> Sites:
    inner = model.model
    return Sites({
        "lang": [layer.mlp.act_fn for layer in inner.language_model.layers],
        "vision": [layer.mlp.activation_fn for layer in inner.vision_tower.encoder.layers],
        "mmproj": [inner.multi_modal_projector.act],
    })


@torch.no_grad()
def stages(model, inputs: dict, sites: Sites, mask: dict | None = None) -> dict[str, np.ndarray]:
    """What one forward pass over the whole prompt computes, stage by stage."""
    inner = model.model
    blocks = list(inner.vision_tower.encoder.layers)
    decoder = list(inner.language_model.layers)
    watched = [inner.vision_tower.pre_layrnorm, *blocks, inner.multi_modal_projector, *decoder]
    taken = []
    handle = inner.multi_modal_projector.register_forward_pre_hook(
        lambda _, given: taken.append(given[0].detach().clone()))
    with sites.watch(mask) as counts:
        seen, result = outputs_of(watched, lambda: model(**inputs))
    handle.remove()
    vision, seen = seen[: len(blocks) + 1], seen[len(blocks) + 1 :]
    found = {"vision_input": vision[0]}
    found |= {f"vision_hidden.{i}": value for i, value in enumerate(vision[1:])}
    found["vision_selected"] = taken[0]
    found["projector_output"] = seen[0]
    found["image_features"] = result.image_hidden_states
    found |= {f"hidden.{i}": value[0] for i, value in enumerate(seen[1:])}
    found["last_logits"] = result.logits[0, -4:]
    found = {name: value.float().contiguous().numpy() for name, value in found.items()}
    return found | counts


def inputs_of(processor, picture: Path, prompt: str) -> dict:
    with Image.open(picture) as image:
        return dict(processor(images=image.convert("RGB"), text=prompt, return_tensors="pt"))


def make_variant(root: Path, name: str, pictures_folder: Path, seed: int) -> list[dict]:
    """Writes a variant and returns its cases. Raises `NearTie` if some case has no clear question."""
    variant = VARIANTS[name]
    folder = root / name
    shutil.rmtree(folder, ignore_errors=True)
    write_checkpoint(folder / "checkpoint", variant, seed)
    model, processor = load(folder / "checkpoint")
    sites, mask, cases = sites_of(model), None, []
    for case in variant["cases"]:
        for question in QUESTIONS:
            prompt = FORMS[case].format(question)
            inputs = inputs_of(processor, pictures_folder / f"{case}.png", prompt)
            if mask is None:
                stages(model, inputs, sites)
                mask = sites.random_mask(seed)
            free = greedy(model, inputs, eos=2)
            with sites.watch(mask, count=False):
                held = greedy(model, inputs, eos=2)
            if min(free["smallest_gap"], held["smallest_gap"]) < SMALLEST_GAP:
                continue
            found = stages(model, inputs, sites)
            nearest = sites.nearest
            masked = stages(model, inputs, sites, mask)
            nearest = min(nearest, sites.nearest)
            if nearest >= NEAREST_TO_ZERO:
                break
        else:
            raise NearTie(f"{name}, {case}, seed {seed}")
        if cases:  # stage by stage for the first case only: the others show where inputs differ
            found = {key: value for key, value in found.items()
                     if not key.startswith(("vision_", "projector_", "hidden."))
                     or key.rpartition("_")[2] in ("log", "value", "len")}
        found |= {
            f"masked.{key}": value for key, value in masked.items()
            if key == "last_logits" or key.rpartition("_")[2] in ("log", "value", "len")
        }
        ids = inputs["input_ids"][0].tolist()
        found["input_ids"] = np.array(ids, np.int32)
        found["pixel_values"] = inputs["pixel_values"][0].numpy()
        height, width = inputs["image_sizes"][0].tolist()
        for run in (free, held):
            run["text"] = processor.tokenizer.decode(run["tokens"], skip_special_tokens=True)
        save_file({key: np.ascontiguousarray(found[key]) for key in sorted(found)},
                  folder / f"{case}.safetensors")
        cases.append({
            "name": case, "image": f"../images/{case}.png", "image_size": [height, width],
            "prompt": prompt, "expected": f"{case}.safetensors",
            "stages": not cases,
            "tiles": int(found["pixel_values"].shape[0]),
            "image_tokens": ids.count(variant["pieces"]), "tokens": len(ids),
            "logit_deviation": round(float(found["last_logits"].std()), 4),
            "nearest_to_zero": float(f"{nearest:.2e}"),
            "greedy": free, "greedy_masked": held,
        })
    (folder / "mask.json").write_text(json.dumps(mask) + "\n")
    write_json(folder / "cases.json", {
        "architecture": "llava_next", "covers": variant["covers"], "seed": seed,
        "type": variant["type"], "checkpoint": "checkpoint", "mask": "mask.json", "cases": cases,
    })
    for path in folder.rglob("*.safetensors"):
        path.chmod(0o644)
    return cases


def make(root: Path, names: list[str]) -> None:
    pictures.write_all(root / "images")
    for name in names or VARIANTS:
        for case in first_clear(
            lambda seed: make_variant(root, name, root / "images", seed), VARIANTS[name]["seed"]
        ):
            print(name, case["name"], f"{case['tokens']} tokens, {case['tiles']} tiles,",
                  f"logits +-{case['logit_deviation']}, gaps {case['greedy']['smallest_gap']}",
                  case["greedy_masked"]["smallest_gap"], case["greedy"]["tokens"][:8])
