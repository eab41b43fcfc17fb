"""The LLaVA-1.5 goldens."""

from pathlib import Path

from transformers import CLIPImageProcessorPil, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

from tools.common import processors
from tools.common.templates import USER_ASSISTANT

from . import llava
from .llava import FORMS, STAGES, sites_of, stages

__all__ = ["ARCHITECTURE", "FORMS", "STAGES", "VARIANTS", "load", "sites_of", "stages", "write_checkpoint"]

ARCHITECTURE = "llava"

# As in llava_next.py. `edge`: what the shorter side is resized to, where that is not the crop.
VARIANTS = {
    "hub-f16": {
        "covers": "hub names, one file, f16, multi-head attention, layer -2, tokenizer.json, "
        "preprocessor_config.json + processor_config.json, chat_template.json",
        "type": "f16", "names": "hub", "shards": 1, "pieces": 448, "vocabulary": 512,
        "layer": -2, "strategy": "default", "processor": "both", "legacy": False,
        "tokenizer": ("tokenizer.json", "tokenizer.model"),
        "template": ("chat_template.json", USER_ASSISTANT),
        "text": dict(hidden_size=64, intermediate_size=96, num_hidden_layers=3,
                     num_attention_heads=4, rms_norm_eps=1e-5, max_position_embeddings=4096),
        "vision": dict(hidden_size=64, intermediate_size=96, num_hidden_layers=3,
                       num_attention_heads=4, image_size=42, patch_size=14, projection_dim=32,
                       vocab_size=32000),
        "cases": ("wide", "tall", "square", "small"), "seed": 31,
    },
    "full-bf16": {
        "covers": "strategy full, transformers-5 names under `model.`, two shards, bf16, grouped-query "
        "attention, layer -1, head tied in text_config alone, a crop smaller than what is resized, "
        "processor_config.json alone",
        "type": "bf16", "names": "model", "shards": 2, "pieces": 416, "vocabulary": 418,
        "layer": -1, "strategy": "full", "processor": "new", "legacy": False,
        "tokenizer": ("tokenizer.json",), "tied": True, "edge": 51,
        "text": dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2,
                     num_attention_heads=4, num_key_value_heads=2, rms_norm_eps=1e-6,
                     rope_parameters={"rope_theta": 1e6, "rope_type": "default"}),
        "vision": dict(hidden_size=64, intermediate_size=96, num_hidden_layers=3,
                       num_attention_heads=2, image_size=42, patch_size=14, projection_dim=32),
        "cases": ("wide", "odd", "small"), "seed": 32,
    },
    "plain-f32": {
        "covers": "the names save_pretrained of transformers 5 writes by default, one file, f32, layer -3 (the "
        "embeddings), a crop larger than what is resized, tokenizer.model alone with the legacy prefix space, "
        "preprocessor_config.json alone",
        "type": "f32", "names": "plain", "shards": 1, "pieces": 400, "vocabulary": 402,
        "layer": -3, "strategy": "default", "processor": "older", "legacy": True,
        "tokenizer": ("tokenizer.model",), "edge": 29,
        "text": dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2,
                     num_attention_heads=4, num_key_value_heads=1, rms_norm_eps=1e-5, rope_theta=10000.0),
        "vision": dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                       num_attention_heads=2, image_size=32, patch_size=16, projection_dim=32),
        "cases": ("square", "tall"), "seed": 33,
    },
}


def write_checkpoint(folder: Path, variant: dict, seed: int) -> None:
    vision, strategy = variant["vision"], variant["strategy"]
    config = llava.config_json(variant, "LlavaForConditionalGeneration", ARCHITECTURE, strategy)
    if variant.get("tied"):
        config["tie_word_embeddings"] = False
    if variant["names"] == "hub":
        config |= {"ignore_index": -100, "vocab_size": variant["vocabulary"]}
    side = vision["image_size"]
    llava.write_checkpoint(
        folder, variant, seed, LlavaForConditionalGeneration(LlavaConfig(**config)), config,
        processors.clip_images(side, variant.get("edge", side)),
        processors.llava_texts(vision["patch_size"], strategy))


def load(folder: Path):
    return llava.load(folder, LlavaForConditionalGeneration, LlavaProcessor, CLIPImageProcessorPil)
