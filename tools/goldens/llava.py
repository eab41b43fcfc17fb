"""What the goldens of the LLaVA models have in common: questions, checkpoints, stages."""

from pathlib import Path

import numpy as np
import torch
from transformers import LlamaTokenizer

from tools.common.files import empty_folder, write_json
from tools.common.prompts import SINGLE, VICUNA

from . import weights
from .record import Sites, outputs_of
from .variant import model_configs, write_processor
from .vocabulary import write_llama_tokenizer

RAW = "<image>\n{}"
SHORT = "<image>\n{}" + SINGLE
MIDDLE = "What colour is <image> the car?  {}"
UNICODE = "<image>\n{} caf\u00e9,  \u96ea \U0001f600\te\u0301!"
FORMS = {
    "wide": RAW, "tall": VICUNA.format(RAW), "square": SHORT, "small": UNICODE, "odd": MIDDLE,
}
# The stages that only a variant's first case keeps.
STAGES = ("vision_", "projector_", "hidden.")


def config_json(variant: dict, name: str, model_type: str, strategy: str, **more) -> dict:
    """config.json of a model whose class is `name`."""
    dtype = weights.TYPE_NAMES[variant["type"]]
    config = {
        "architectures": [name],
        **more,
        "image_token_index": variant["pieces"],
        "model_type": model_type,
        "projector_hidden_act": "gelu",
        **model_configs(variant),
        "vision_config": {"model_type": "clip_vision_model"} | variant["vision"],
        "vision_feature_layer": variant["layer"],
        "vision_feature_select_strategy": strategy,
    }
    if variant["names"] == "hub":
        return config | {"torch_dtype": dtype}
    return config | {"dtype": dtype, "image_seq_length": 576, "multimodal_projector_bias": True,
                     "transformers_version": "5.23.0"}


def write_checkpoint(
    folder: Path, variant: dict, seed: int, model: torch.nn.Module, config: dict, images: dict, texts: dict
) -> None:
    """`images` and `texts`: the processor's settings."""
    empty_folder(folder)
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
    write_processor(folder, variant["processor"], images, texts)
    if template := variant.get("template"):
        file, text = template
        if file.endswith(".json"):
            write_json(folder / file, {"chat_template": text})
        else:
            (folder / file).write_text(text, encoding="utf-8")


def load(folder: Path, model_class, processor_class, image_class):
    """The checkpoint as the reference runs it: float32, eager attention, Pillow's pictures."""
    model, notes = model_class.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    model.eval()
    assert not any(notes.values()), notes  # every tensor found and used
    if (folder / "processor_config.json").exists():
        processor = processor_class.from_pretrained(folder)
    else:
        # What processor_config.json would say follows from the model's config. LlamaTokenizer is
        # the class that tokenizer_config.json names; for tokenizer.model alone AutoTokenizer takes
        # another, which forgets the prefix space.
        processor = processor_class(
            image_class.from_pretrained(folder),
            LlamaTokenizer.from_pretrained(folder),
            patch_size=model.config.vision_config.patch_size,
            vision_feature_select_strategy=model.config.vision_feature_select_strategy,
            num_additional_image_tokens=1)
    assert isinstance(processor.image_processor, image_class)
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
