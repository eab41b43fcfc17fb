"""The LLaVA-Next goldens."""

from pathlib import Path

from transformers import (
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessorPil,
    LlavaNextProcessor,
)

from tools.common import processors
from tools.common.templates import INSTRUCTIONS

from . import llava
from .llava import FORMS, STAGES, sites_of, stages

__all__ = ["ARCHITECTURE", "FORMS", "STAGES", "VARIANTS", "load", "sites_of", "stages", "write_checkpoint"]

ARCHITECTURE = "llava_next"


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
    "mistral-bf16": {
        "covers": "a Mistral decoder: grouped-query attention, rope theta 1e6, sliding_window null, head_dim "
        "apart from hidden size, instructions for a template (chat_template.jinja); hub names, one file, bf16",
        "type": "bf16", "names": "hub", "shards": 1, "pieces": 416, "vocabulary": 448,
        "tiles": LLAVA_TILES, "layer": -2, "processor": "both", "legacy": False,
        "tokenizer": ("tokenizer.json", "tokenizer.model"), "template": ("chat_template.jinja", INSTRUCTIONS),
        "text": dict(model_type="mistral", architectures=["MistralForCausalLM"], hidden_size=64,
                     intermediate_size=96, num_hidden_layers=3, num_attention_heads=8, num_key_value_heads=2,
                     head_dim=16, rms_norm_eps=1e-5, rope_theta=1000000.0, max_position_embeddings=32768,
                     sliding_window=None),
        "vision": dict(hidden_size=64, intermediate_size=96, num_hidden_layers=3,
                       num_attention_heads=4, image_size=28, patch_size=14, projection_dim=32,
                       vocab_size=32000),
        "cases": ("wide", "tall", "small"), "seed": 15,
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


def write_checkpoint(folder: Path, variant: dict, seed: int) -> None:
    vision = variant["vision"]
    grids = grid(vision["image_size"], *variant["tiles"])
    config = llava.config_json(
        variant, "LlavaNextForConditionalGeneration", ARCHITECTURE, "default", image_grid_pinpoints=grids)
    if variant["names"] == "hub":
        config |= {"ignore_index": -100, "use_image_newline_parameter": True, "vocab_size": variant["vocabulary"]}
    llava.write_checkpoint(
        folder, variant, seed, LlavaNextForConditionalGeneration(LlavaNextConfig(**config)), config,
        processors.llava_next_images(vision["image_size"], grids),
        processors.llava_next_texts(vision["patch_size"]))


def load(folder: Path):
    return llava.load(
        folder, LlavaNextForConditionalGeneration, LlavaNextProcessor, LlavaNextImageProcessorPil)
