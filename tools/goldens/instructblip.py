"""The InstructBLIP goldens."""

from pathlib import Path

import numpy as np
import torch
from transformers import (
    AutoTokenizer,
    BertTokenizer,
    BlipImageProcessorPil,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    InstructBlipProcessor,
    LlamaTokenizer,
)

from tools.common import processors
from tools.common.files import empty_folder, write_json

from . import weights
from .record import Sites, outputs_of
from .variant import model_configs, write_processor
from .vocabulary import write_bert_tokenizer, write_llama_tokenizer

ARCHITECTURE = "instructblip"
# The stages that only a variant's first case keeps.
STAGES = ("vision_", "qformer_", "hidden.")

FORMS = {
    "wide": "{}",
    "tall": "Question: {} Short Answer:",
    "square": "<Image> {}\nOptions: ['a: CT', 'b: MRI']\n\nAnswer with the option's letter.",
    "small": "{} CAF\u00c9 caf\u00e9,  \u96ea\u5c71 \U0001f600\te\u0301! unbelievableness it's",
    "odd": "  {}",
}

VARIANTS = {
    "hub-f32": {
        "covers": "f32 in three shards with the buffers that the hub's file still carries "
        "(rotary_emb.inv_freq, position_ids), rows of the vocabulary without a token, wrong bos "
        "and eos ids in text_config, tokenizer.model alone with the legacy prefix space, "
        "vocab.txt alone, preprocessor_config.json alone",
        "type": "f32", "shards": 3, "buffers": True, "pieces": 400, "vocabulary": 416,
        "queries": 8, "processor": "older", "legacy": True, "tokenizer": ("tokenizer.model",),
        "bert": 220, "bert_files": ("vocab.txt",),
        "text": dict(bos_token_id=0, eos_token_id=1, hidden_size=64, intermediate_size=64,
                     max_position_embeddings=2048, num_attention_heads=4, num_hidden_layers=2,
                     pad_token_id=-1, rms_norm_eps=1e-6),
        "qformer": dict(hidden_size=32, intermediate_size=64, num_hidden_layers=4,
                        num_attention_heads=4, cross_attention_frequency=2,
                        max_position_embeddings=128),
        "vision": dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                       num_attention_heads=2, image_size=42, patch_size=14, layer_norm_eps=1e-6),
        "cases": ("wide", "tall", "small"), "seed": 21,
    },
    "new-f16": {
        "covers": "f16, one file, grouped-query attention, an odd number of Q-Former layers, other widths, "
        "tokenizer.json (Metaspace first), qformer_tokenizer/tokenizer.json, processor_config.json alone",
        "type": "f16", "shards": 1, "buffers": False, "pieces": 416, "vocabulary": 418,
        "queries": 5, "processor": "new", "legacy": False, "tokenizer": ("tokenizer.json",),
        "bert": 240, "bert_files": ("tokenizer.json",),
        "text": dict(hidden_size=128, intermediate_size=96, num_attention_heads=4,
                     num_hidden_layers=2, num_key_value_heads=2, rms_norm_eps=1e-5,
                     rope_parameters={"rope_theta": 50000.0, "rope_type": "default"}),
        "qformer": dict(hidden_size=32, intermediate_size=96, num_hidden_layers=3,
                        num_attention_heads=2, cross_attention_frequency=2,
                        max_position_embeddings=64, layer_norm_eps=1e-12),
        "vision": dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2,
                       num_attention_heads=4, image_size=32, patch_size=8),
        "cases": ("square", "odd", "small"), "seed": 22,
    },
    "frequency-bf16": {
        "covers": "bf16, two shards, cross-attention in every third layer, no qkv bias in the tower, tied head, both "
        "files of either tokenizer, preprocessor_config.json + processor_config.json",
        "type": "bf16", "shards": 2, "buffers": False, "pieces": 384, "vocabulary": 386,
        "queries": 4, "processor": "both", "legacy": False,
        "tokenizer": ("tokenizer.json", "tokenizer.model"),
        "bert": 200, "bert_files": ("tokenizer.json", "vocab.txt"), "tied": True,
        "text": dict(hidden_size=64, intermediate_size=96, num_attention_heads=2,
                     num_hidden_layers=2, num_key_value_heads=1, rms_norm_eps=1e-6),
        "qformer": dict(hidden_size=32, intermediate_size=64, num_hidden_layers=4,
                        num_attention_heads=2, cross_attention_frequency=3,
                        max_position_embeddings=64),
        "vision": dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2,
                       num_attention_heads=2, image_size=28, patch_size=14, qkv_bias=False),
        "cases": ("wide", "square"), "seed": 23,
    },
}


def config_json(variant: dict) -> dict:
    config = {
        "architectures": ["InstructBlipForConditionalGeneration"],
        "image_token_index": variant["pieces"] + 1,
        "initializer_factor": 1.0,
        "initializer_range": 0.02,
        "model_type": "instructblip",
        "num_query_tokens": variant["queries"],
        "qformer_config": {
            "encoder_hidden_size": variant["vision"]["hidden_size"],
            "model_type": "instructblip_qformer", "vocab_size": variant["bert"] + 1,
        } | variant["qformer"],
        **model_configs(variant),
        "use_decoder_only_language_model": True,
        "vision_config": {"model_type": "instructblip_vision_model"} | variant["vision"],
    }
    config["torch_dtype" if variant["processor"] == "older" else "dtype"] = weights.TYPE_NAMES[variant["type"]]
    return config


def write_checkpoint(folder: Path, variant: dict, seed: int) -> None:
    empty_folder(folder)
    config = config_json(variant)
    model = InstructBlipForConditionalGeneration(InstructBlipConfig(**config))
    weights.fill(model, seed)
    tensors = weights.stored(model, variant["type"])
    if variant["buffers"]:
        # Buffers that transformers wrote into its files when these checkpoints were made.
        for i in range(len(model.language_model.model.layers)):
            tensors[f"language_model.model.layers.{i}.self_attn.rotary_emb.inv_freq"] = (
                model.language_model.model.rotary_emb.inv_freq.clone())
        tensors["qformer.embeddings.position_ids"] = torch.arange(
            variant["qformer"]["max_position_embeddings"])[None]
    weights.write_shards(tensors, folder, variant["shards"])
    write_json(folder / "config.json", config)
    write_json(folder / "generation_config.json", {
        "_from_model_config": True, "bos_token_id": variant["text"].get("bos_token_id", 1),
        "eos_token_id": variant["text"].get("eos_token_id", 2), "transformers_version": "5.23.0"})
    write_llama_tokenizer(folder, variant["pieces"], ["[PAD]", "<image>"], legacy=variant["legacy"],
                          files=variant["tokenizer"], bos="</s>", pad="[PAD]")
    write_bert_tokenizer(folder / "qformer_tokenizer", variant["bert"], variant["bert_files"])
    write_processor(folder, variant["processor"], processors.blip_images(variant["vision"]["image_size"]),
                    processors.blip_texts(variant["queries"]))


def load(folder: Path):
    """The checkpoint as the reference runs it: float32, eager attention, Pillow's pictures."""
    model, notes = InstructBlipForConditionalGeneration.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    model.eval()
    notes["unexpected_keys"] = {
        key for key in notes["unexpected_keys"]
        if not key.endswith(("rotary_emb.inv_freq", "position_ids"))
    }
    assert not any(notes.values()), notes  # every tensor found and used
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert isinstance(tokenizer, LlamaTokenizer)
    # From its own folder: as a subfolder of the checkpoint transformers 5.23 does not find vocab.txt
    # where it stands alone, and goes on with five tokens.
    qformer_tokenizer = BertTokenizer.from_pretrained(folder / "qformer_tokenizer")
    if (folder / "processor_config.json").exists():
        processor = InstructBlipProcessor.from_pretrained(folder)
        image_processor = processor.image_processor
    else:
        image_processor = BlipImageProcessorPil.from_pretrained(folder)
    processor = InstructBlipProcessor(
        image_processor, tokenizer, qformer_tokenizer, num_query_tokens=model.config.num_query_tokens)
    assert isinstance(processor.image_processor, BlipImageProcessorPil)
    return model, processor


def sites_of(model) -> Sites:
    qformer = model.qformer.encoder.layer
    return Sites({
        "lang": [layer.mlp.act_fn for layer in model.language_model.model.layers],
        "encoder": [layer.mlp.activation_fn for layer in model.vision_model.encoder.layers],
        "qformer": [layer.intermediate.intermediate_act_fn for layer in qformer],
        "query": [layer.intermediate_query.intermediate_act_fn for layer in qformer],
    })


@torch.no_grad()
def stages(model, inputs: dict, sites: Sites, mask: dict | None = None) -> dict[str, np.ndarray]:
    """What one forward pass over the whole prompt computes, stage by stage."""
    groups = {
        "vision_input": [model.vision_model.embeddings],
        "vision_hidden": list(model.vision_model.encoder.layers),
        "qformer_input": [model.qformer.embeddings],
        "qformer_hidden": list(model.qformer.encoder.layer),
        "image_features": [model.language_projection],
        "hidden": list(model.language_model.model.layers),
    }
    with sites.watch(mask) as counts:
        seen, result = outputs_of(sum(groups.values(), []), lambda: model(**inputs))
    found = {"vision_output": result.vision_outputs.last_hidden_state[0]}
    for name, layers in groups.items():
        values, seen = seen[: len(layers)], seen[len(layers) :]
        for i, value in enumerate(values):
            found[f"{name}.{i}" if name.endswith("hidden") else name] = value[0]
    found["last_logits"] = result.logits[0, -4:]
    found = {name: value.float().contiguous().numpy() for name, value in found.items()}
    return found | counts
