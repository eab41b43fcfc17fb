"""Tests/Golden/formats: what the `gguf` package computes and writes.

- quantize.safetensors: `<case>` f32 [rows, cols] and `<case>.<type>` u8 [rows, bytes], the blocks
  that gguf.quants.quantize makes of it, and `<case>.<type>.back` f32, what dequantize makes of those.
  For the types that the package only dequantizes, `any.<type>` are random blocks.
- every-value.gguf: a file written by GGUFWriter with every value type and several tensor types, and
  every-value.json: what is in it.
- convert.json: for each checkpoint in Tests/Golden/llava-next and each type, every tensor's name
  in the GGUF files with its type, shape and the FNV-1a hash of its bytes, computed from the checkpoint
  with gguf.quants and the row permutation of llama.cpp's converter. No hash where that package does
  not quantize the type.
"""

import json
import re
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf.quants import dequantize, quantize
from safetensors import safe_open
from safetensors.numpy import save_file

from tools.common.files import write_json, write_text
from tools.common.hashes import fnv1a_digits
from tools.common.llama_cpp import DECODER, permute

TYPE = gguf.GGMLQuantizationType
TYPES = {"f16": TYPE.F16, "bf16": TYPE.BF16, "q8_0": TYPE.Q8_0, "q4_0": TYPE.Q4_0}
# Types that the package dequantizes, and does not quantize (or, the small ones, not by search).
SEARCHED = {"iq4_nl": TYPE.IQ4_NL, "q4_1": TYPE.Q4_1, "q5_0": TYPE.Q5_0, "q5_1": TYPE.Q5_1, "q4_k": TYPE.Q4_K,
            "q5_k": TYPE.Q5_K, "q6_k": TYPE.Q6_K}
# Where the half floats lie in a block: scales, offsets.
HALVES = {TYPE.Q4_1: (0, 2), TYPE.Q5_1: (0, 2), TYPE.Q4_K: (0, 2), TYPE.Q5_K: (0, 2), TYPE.Q6_K: (208,)}
# What takes a type's place where rows are no whole blocks of it, as llama.cpp has it.
INSTEAD = {TYPE.Q4_K: TYPE.Q5_0, TYPE.Q5_K: TYPE.Q5_1, TYPE.Q6_K: TYPE.Q8_0}


def quantizer_cases() -> dict[str, np.ndarray]:
    random = np.random.default_rng(20240611)

    def normal(shape):
        return random.standard_normal(shape).astype(np.float32)

    scaled = np.ldexp(normal((8, 96)), random.integers(-40, 12, (8, 96))).astype(np.float32)
    bits = random.integers(0, 2**32, (8, 96), dtype=np.uint64).astype(np.uint32).view(np.float32)
    bits = np.where(np.isfinite(bits), bits, np.float32(0))
    subnormal = np.ldexp(normal((8, 96)), random.integers(-149, -120, (8, 1))).astype(np.float32)
    # Exact halves between two levels, with the extreme value fixed so that the scale is 1.
    ties8 = (random.integers(-253, 254, (8, 96)) / 2).astype(np.float32)
    ties8[:, ::32] = 127
    ties4 = (random.integers(-15, 16, (8, 96)) / 2).astype(np.float32)
    ties4[:, ::32] = random.choice([-8.0, 8.0], (8, 3))
    zeros = np.zeros((8, 96), np.float32)
    zeros[1] = -0.0
    zeros[2, ::2] = -0.0
    zeros[3, 1::2] = -0.0
    zeros[4, 5], zeros[5, 7], zeros[6, 3], zeros[7, 3] = 1e-45, -1e-45, 65504, -1e-40
    return {
        "normal": normal((8, 96)) * np.float32(0.02),
        "half": normal((8, 96)).astype(np.float16).astype(np.float32),
        "scaled": scaled,
        "bits": bits,
        "subnormal": subnormal,
        "ties8": ties8,
        "ties4": ties4,
        "zeros": zeros,
    }


def make_quantize(out: Path) -> None:
    tensors = {}
    for name, values in quantizer_cases().items():
        tensors[name] = values
        for type_name, type_ in TYPES.items():
            with np.errstate(all="ignore"):
                blocks = np.ascontiguousarray(quantize(values, type_))
                back = dequantize(blocks, type_)
            tensors[f"{name}.{type_name}"] = blocks.view(np.uint8).reshape(len(values), -1)
            tensors[f"{name}.{type_name}.back"] = np.ascontiguousarray(back, np.float32)
    random = np.random.default_rng(5)
    for type_name, type_ in SEARCHED.items():
        elements, block_bytes = gguf.GGML_QUANT_SIZES[type_]
        count = 12 if elements == 32 else 1
        blocks = random.integers(0, 256, (8, count, block_bytes)).astype(np.uint8)
        for at in HALVES.get(type_, (0,)):
            scales = (random.standard_normal((8, count)) * 0.01).astype(np.float16)
            blocks[..., at : at + 2] = scales[..., None].view(np.uint8)
        blocks = blocks.reshape(8, -1)
        tensors[f"any.{type_name}"] = blocks
        tensors[f"any.{type_name}.back"] = np.ascontiguousarray(dequantize(blocks, type_), np.float32)
    save_file(tensors, out / "quantize.safetensors")


def make_every_value(out: Path) -> None:
    writer = gguf.GGUFWriter(out / "every-value.gguf", "llama")
    writer.add_uint8("a.uint8", 200)
    writer.add_int8("a.int8", -100)
    writer.add_uint16("a.uint16", 60000)
    writer.add_int16("a.int16", -30000)
    writer.add_uint32("a.uint32", 4000000000)
    writer.add_int32("a.int32", -2000000000)
    writer.add_uint64("a.uint64", 2**64 - 1)
    writer.add_int64("a.int64", -(2**63))
    writer.add_float32("a.float32", 0.1)
    writer.add_float64("a.float64", 0.1)
    writer.add_bool("a.true", True)
    writer.add_bool("a.false", False)
    writer.add_string("a.string", "Grüße 🦙")
    writer.add_array("a.strings", ["", "▁the", "<0x0A>"])
    writer.add_array("a.floats", [1.5, -2.25])
    writer.add_array("a.integers", [1, -2, 3])
    random = np.random.default_rng(7)
    tensors = {}
    for name, shape, type_ in [
        ("vector", (5,), TYPE.F32),
        ("matrix", (3, 64), TYPE.Q8_0),
        ("four", (3, 64), TYPE.Q4_0),
        ("half", (2, 7), TYPE.F16),
        ("brain", (2, 7), TYPE.BF16),
        ("cube", (2, 3, 4, 5), TYPE.F32),
    ]:
        values = random.standard_normal(shape).astype(np.float32)
        data = np.ascontiguousarray(quantize(values, type_))
        if type_ in (TYPE.F32, TYPE.F16):
            writer.add_tensor(name, data)
        else:
            writer.add_tensor(name, data.view(np.uint8), raw_dtype=type_)
        back = dequantize(data, type_)
        tensors[name] = {
            "type": type_.name,
            "shape": list(shape),
            "bits": np.ascontiguousarray(back, np.float32).view(np.uint32).ravel().tolist(),
        }
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    write_json(out / "every-value.json", tensors, indent=None)


VISION = {
    "ln1": "layer_norm1",
    "ln2": "layer_norm2",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_out": "self_attn.out_proj",
    "ffn_up": "mlp.fc1",
    "ffn_down": "mlp.fc2",
}
SINGLE = {
    "text.embed_tokens.weight": ("token_embd.weight", "embedding"),
    "text.norm.weight": ("output_norm.weight", "plain"),
    "lm_head.weight": ("output.weight", "embedding"),
    "vision.embeddings.class_embedding": ("v.class_embd", "plain"),
    "vision.embeddings.patch_embedding.weight": ("v.patch_embd.weight", "kernel"),
    "vision.embeddings.position_embedding.weight": ("v.position_embd.weight", "plain"),
    "vision.pre_layrnorm.weight": ("v.pre_ln.weight", "plain"),
    "vision.pre_layrnorm.bias": ("v.pre_ln.bias", "plain"),
    "vision.post_layernorm.weight": ("v.post_ln.weight", "plain"),
    "vision.post_layernorm.bias": ("v.post_ln.bias", "plain"),
    "multi_modal_projector.linear_1.weight": ("mm.0.weight", "matrix"),
    "multi_modal_projector.linear_1.bias": ("mm.0.bias", "plain"),
    "multi_modal_projector.linear_2.weight": ("mm.2.weight", "matrix"),
    "multi_modal_projector.linear_2.bias": ("mm.2.bias", "plain"),
    "image_newline": ("model.image_newline", "plain"),
}


def source_name(name: str) -> str:
    name = re.sub(r"^model\.(?=language_model|vision_tower|multi_modal|image_newline)", "", name)
    name = re.sub(r"^language_model\.lm_head", "lm_head", name)
    name = re.sub(r"^language_model\.(model\.)?", "text.", name)
    return re.sub(r"^vision_tower\.(vision_model\.)?", "vision.", name)


def target(name: str, dimensions: int) -> tuple[str, str]:
    if name in SINGLE:
        return SINGLE[name]
    for pattern, prefix, names in [
        (r"text\.layers\.(\d+)\.(.+)\.(weight)", "blk", DECODER),
        (r"vision\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", "v.blk", VISION),
    ]:
        if match := re.fullmatch(pattern, name):
            short = next(key for key, value in names.items() if value == match[2])
            kind = "matrix" if dimensions > 1 else "plain"
            return f"{prefix}.{match[1]}.{short}.{match[3]}", kind
    raise KeyError(name)


def stored(kind: str, wanted: TYPE, cols: int) -> TYPE:
    if kind == "plain":
        return TYPE.F32
    quantized = wanted not in (TYPE.F32, TYPE.F16, TYPE.BF16)
    if kind == "kernel" and quantized:
        return TYPE.F16
    if kind == "embedding" and quantized:
        wanted = TYPE.Q8_0
    if cols % gguf.GGML_QUANT_SIZES[wanted][0]:
        wanted = INSTEAD.get(wanted, wanted)
    return TYPE.F16 if cols % gguf.GGML_QUANT_SIZES[wanted][0] else wanted


def make_convert(golden: Path) -> None:
    result = {}
    for folder in sorted((golden / "llava-next").iterdir()):
        checkpoint = folder / "checkpoint"
        if not checkpoint.is_dir():
            continue
        text = json.loads((checkpoint / "config.json").read_text())["text_config"]
        heads = text["num_attention_heads"]
        kv_heads = text.get("num_key_value_heads", heads)
        tensors = {}
        for path in sorted(checkpoint.glob("*.safetensors")):
            with safe_open(path, "pt") as file:
                for name in file.keys():
                    tensors[source_name(name)] = file.get_tensor(name).to(torch.float32).numpy()
        types = {"f32": TYPE.F32} | TYPES | SEARCHED
        result[folder.name] = {name: {} for name in types}
        for name, values in sorted(tensors.items()):
            if name.endswith(("position_ids", "inv_freq")):
                continue
            gguf_name, kind = target(name, values.ndim)
            if gguf_name.startswith("blk.") and gguf_name.endswith("attn_q.weight"):
                values = permute(values, heads)
            if gguf_name.startswith("blk.") and gguf_name.endswith("attn_k.weight"):
                values = permute(values, kv_heads)
            for type_name, wanted in types.items():
                type_ = stored(kind, wanted, values.shape[-1])
                entry = [type_.name, list(values.shape)]
                if type_ not in SEARCHED.values():
                    entry.append(fnv1a_digits(quantize(np.ascontiguousarray(values), type_).tobytes()))
                result[folder.name][type_name][gguf_name] = entry
    lines = []
    for variant, types in result.items():
        for type_name, entries in types.items():
            lines.append(f'"{variant}.{type_name}": ' + json.dumps(entries))
    write_text(golden / "formats" / "convert.json", "{\n" + ",\n".join(lines) + "\n}\n")


def make(golden: Path) -> None:
    (golden / "formats").mkdir(parents=True, exist_ok=True)
    make_quantize(golden / "formats")
    make_every_value(golden / "formats")
    make_convert(golden)
