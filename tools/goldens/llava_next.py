"""The LLaVA-Next goldens."""

from pathlib import Path

import numpy as np
import torch
from transformers import (
    LlamaTokenizer,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessorPil,
    LlavaNextProcessor,
)

from tools.common import processors
from tools.common.files import empty_folder, write_json
from tools.common.prompts import SINGLE, VICUNA

from . import weights
from .record import Sites, outputs_of
from .variant import model_configs, write_processor
from .vocabulary import write_llama_tokenizer

ARCHITECTURE = "llava_next"
RAW = "<image>\n{}"
SHORT = "<image>\n{}" + SINGLE
MIDDLE = "What colour is <image> the car?  {}"
UNICODE = "<image>\n{} caf\u00e9,  \u96ea \U0001f600\te\u0301!"
FORMS = {
    "wide": RAW, "tall": VICUNA.format(RAW), "square": SHORT, "small": UNICODE, "odd": MIDDLE,
}
# The stages that only a variant's first case keeps.
STAGES = ("vision_", "projector_", "hidden.")


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
        "tiles": LLAVA_TILES, "layer": -2, "processor": "both", "legacy": False,
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
        "tiles": ((1, 1), (2, 3), (3, 1)), "layer": -2, "processor": "both",
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
    dtype = weights.TYPE_NAMES[variant["type"]]
    config = {
        "architectures": ["LlavaNextForConditionalGeneration"],
        "image_grid_pinpoints": grid(side, *variant["tiles"]),
        "image_token_index": variant["pieces"],
        "model_type": "llava_next",
        "projector_hidden_act": "gelu",
        **model_configs(variant),
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


def write_checkpoint(folder: Path, variant: dict, seed: int) -> None:
    empty_folder(folder)
    config = config_json(variant)
    model = LlavaNextForConditionalGeneration(LlavaNextConfig(**config))
    weights.fill(model, seed, eos_gain=variant.get("eos_gain", 1))
    rename = {
        "hub": weights.hub_name,
        "model": lambda name: name,
        "plain": lambda name: weights.hub_name(name).replace(
            "vision_tower.vision_model.", "vision_tower."),
    }[variant["names"]]
    weights.write_shards(weights.stored(model, variant["type"], rename), folder, variant["shards"])
    write_json(folder / "config.json", config)
    write_json(folder / "generation_config.json",
               {"_from_model_config": True, "bos_token_id": 1, "eos_token_id": 2,
                "pad_token_id": 0, "transformers_version": "5.23.0"})
    write_llama_tokenizer(folder, variant["pieces"], ["<image>", "<pad>"],
                          legacy=variant["legacy"], files=variant["tokenizer"],
                          old_json=variant.get("old_json", False))
    vision = variant["vision"]
    images = processors.llava_next_images(vision["image_size"], grid(vision["image_size"], *variant["tiles"]))
    write_processor(folder, variant["processor"], images, processors.llava_next_texts(vision["patch_size"]))


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
