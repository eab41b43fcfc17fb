"""Writes a checkpoint of random weights in a real model's shape, as the hub's folder has it: the same
tensor names, shards of up to 5 GB with an index, config, tokenizer and processor files. For measuring
memory and speed where the real weights are not at hand.

    .build/venv/bin/python tools/data shape --arch llava-next --shape 7b --output DIR \\
        --vocab llama-tokenizer.model [--bert-vocab vocab.txt]

7b is llava-v1.6-vicuna-7b-hf or llava-1.5-7b-hf (14 GB) or instructblip-vicuna-7b (16 GB), 13b the same with
Vicuna 13B (27 and 28 GB), mistral-7b is llava-v1.6-mistral-7b-hf (15 GB), layer one layer of Vicuna 7B behind a small
tower (0.9 GB), to see what a layer costs; small has the same structure in some 10 to 30 MB. Memory stays below
0.5 GB: values come from a pool of normal numbers.
"""

import json
import sys
from pathlib import Path

import numpy as np
from sentencepiece import SentencePieceProcessor

from tools.common import processors, templates
from tools.common.commands import parser
from tools.common.files import write_json
from tools.goldens.vocabulary import sentencepiece_model, write_bert_tokenizer, write_llama_tokenizer

SHARD_BYTES = 4_990_000_000
DEVIATION = 0.02

Shapes = dict[str, tuple[int, ...]]

LLAMA_7B = dict(hidden=4096, ffn=11008, layers=32, heads=32)
LLAMA_13B = dict(hidden=5120, ffn=13824, layers=40, heads=40)
# `kv`: heads of keys and values, where there are fewer; `more`: what else config.json says of it.
MISTRAL_7B = dict(LLAMA_7B, ffn=14336, kv=8, more=dict(
    architectures=["MistralForCausalLM"], max_position_embeddings=32768, model_type="mistral", num_key_value_heads=8,
    rope_theta=1000000.0, sliding_window=None))
LLAMA_SMALL = dict(hidden=256, ffn=704, layers=4, heads=8)
CLIP = dict(vision=dict(hidden=1024, ffn=4096, layers=24, heads=16, side=336))
CLIP_SMALL = dict(vision=dict(hidden=128, ffn=512, layers=4, heads=4, side=336))
EVA = dict(
    vision=dict(hidden=1408, ffn=6144, layers=39, heads=16, side=224),
    qformer=dict(hidden=768, ffn=3072, layers=12, heads=12), queries=32)
SHAPES = {
    ("llava-next", "7b"): dict(CLIP, text=LLAMA_7B),
    ("llava-next", "mistral-7b"): dict(CLIP, text=MISTRAL_7B),
    ("llava-next", "13b"): dict(CLIP, text=LLAMA_13B),
    ("llava-next", "layer"): dict(CLIP_SMALL, text=dict(LLAMA_7B, layers=1)),
    ("llava-next", "small"): dict(CLIP_SMALL, text=LLAMA_SMALL),
    ("llava-1.5", "7b"): dict(CLIP, text=LLAMA_7B),
    ("llava-1.5", "13b"): dict(CLIP, text=LLAMA_13B),
    ("llava-1.5", "small"): dict(CLIP_SMALL, text=LLAMA_SMALL),
    ("instructblip", "7b"): dict(EVA, text=LLAMA_7B),
    ("instructblip", "13b"): dict(EVA, text=LLAMA_13B),
    ("instructblip", "small"): dict(
        text=LLAMA_SMALL, vision=dict(hidden=352, ffn=1536, layers=4, heads=4, side=224),
        qformer=dict(hidden=96, ffn=384, layers=4, heads=4), queries=32),
}
PATCH = 14


def linear(name: str, rows: int, columns: int, bias: bool = True) -> Shapes:
    return {f"{name}.weight": (rows, columns)} | ({f"{name}.bias": (rows,)} if bias else {})


def norm(name: str, size: int) -> Shapes:
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}


def decoder(size: dict, rows: int) -> Shapes:
    hidden, ffn = size["hidden"], size["ffn"]
    keys = hidden // size["heads"] * size.get("kv", size["heads"])
    tensors: Shapes = {"language_model.model.embed_tokens.weight": (rows, hidden)}
    for i in range(size["layers"]):
        layer = f"language_model.model.layers.{i}"
        tensors[f"{layer}.input_layernorm.weight"] = (hidden,)
        for part, outputs in (("q_proj", hidden), ("k_proj", keys), ("v_proj", keys), ("o_proj", hidden)):
            tensors[f"{layer}.self_attn.{part}.weight"] = (outputs, hidden)
        tensors[f"{layer}.post_attention_layernorm.weight"] = (hidden,)
        tensors[f"{layer}.mlp.gate_proj.weight"] = (ffn, hidden)
        tensors[f"{layer}.mlp.up_proj.weight"] = (ffn, hidden)
        tensors[f"{layer}.mlp.down_proj.weight"] = (hidden, ffn)
    tensors["language_model.model.norm.weight"] = (hidden,)
    tensors["language_model.lm_head.weight"] = (rows, hidden)
    return tensors


def llava(size: dict, rows: int) -> Shapes:
    """What every LLaVA model has."""
    vision, hidden = size["vision"], size["text"]["hidden"]
    width, patches = vision["hidden"], (vision["side"] // PATCH) ** 2
    tower = "vision_tower.vision_model"
    tensors: Shapes = {
        f"{tower}.embeddings.class_embedding": (width,),
        f"{tower}.embeddings.patch_embedding.weight": (width, 3, PATCH, PATCH),
        f"{tower}.embeddings.position_embedding.weight": (patches + 1, width),
    }
    tensors |= norm(f"{tower}.pre_layrnorm", width)
    for i in range(vision["layers"]):
        layer = f"{tower}.encoder.layers.{i}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            tensors |= linear(f"{layer}.self_attn.{part}", width, width)
        tensors |= norm(f"{layer}.layer_norm1", width) | norm(f"{layer}.layer_norm2", width)
        tensors |= linear(f"{layer}.mlp.fc1", vision["ffn"], width)
        tensors |= linear(f"{layer}.mlp.fc2", width, vision["ffn"])
    tensors |= norm(f"{tower}.post_layernorm", width)
    tensors |= linear("multi_modal_projector.linear_1", hidden, width)
    tensors |= linear("multi_modal_projector.linear_2", hidden, hidden)
    return tensors | decoder(size["text"], rows)


def llava_next(size: dict, rows: int) -> Shapes:
    return {"image_newline": (size["text"]["hidden"],)} | llava(size, rows)


def instructblip(size: dict, rows: int, bert_rows: int) -> Shapes:
    vision, qformer = size["vision"], size["qformer"]
    width, patches = vision["hidden"], (vision["side"] // PATCH) ** 2
    tensors: Shapes = {
        "query_tokens": (1, size["queries"], qformer["hidden"]),
        "vision_model.embeddings.class_embedding": (1, 1, width),
        "vision_model.embeddings.position_embedding": (1, patches + 1, width),
        "vision_model.embeddings.patch_embedding.weight": (width, 3, PATCH, PATCH),
        "vision_model.embeddings.patch_embedding.bias": (width,),
    }
    for i in range(vision["layers"]):
        layer = f"vision_model.encoder.layers.{i}"
        tensors |= linear(f"{layer}.self_attn.qkv", 3 * width, width)
        tensors |= linear(f"{layer}.self_attn.projection", width, width)
        tensors |= norm(f"{layer}.layer_norm1", width) | norm(f"{layer}.layer_norm2", width)
        tensors |= linear(f"{layer}.mlp.fc1", vision["ffn"], width)
        tensors |= linear(f"{layer}.mlp.fc2", width, vision["ffn"])
    tensors |= norm("vision_model.post_layernorm", width)
    hidden, ffn = qformer["hidden"], qformer["ffn"]
    tensors["qformer.embeddings.word_embeddings.weight"] = (bert_rows, hidden)
    tensors["qformer.embeddings.position_embeddings.weight"] = (512, hidden)
    tensors |= norm("qformer.embeddings.layernorm", hidden)
    for i in range(qformer["layers"]):
        layer = f"qformer.encoder.layer.{i}"
        blocks = [("attention", hidden)] + ([("crossattention", width)] if i % 2 == 0 else [])
        for block, source in blocks:
            tensors |= linear(f"{layer}.{block}.attention.query", hidden, hidden)
            tensors |= linear(f"{layer}.{block}.attention.key", hidden, source)
            tensors |= linear(f"{layer}.{block}.attention.value", hidden, source)
            tensors |= linear(f"{layer}.{block}.output.dense", hidden, hidden)
            tensors |= norm(f"{layer}.{block}.output.LayerNorm", hidden)
        for branch in ("", "_query"):
            tensors |= linear(f"{layer}.intermediate{branch}.dense", ffn, hidden)
            tensors |= linear(f"{layer}.output{branch}.dense", hidden, ffn)
            tensors |= norm(f"{layer}.output{branch}.LayerNorm", hidden)
    tensors |= linear("language_projection", size["text"]["hidden"], hidden)
    return tensors | decoder(size["text"], rows)


class Values:
    """Numbers of N(0, 0.02) with none below f16's normal range, read from a pool at random places:
    drawing every one of seven thousand million anew would take minutes."""

    def __init__(self, dtype: np.dtype, seed: int):
        self.random = np.random.default_rng(seed)
        pool = self.random.standard_normal(1 << 24, dtype=np.float32) * np.float32(DEVIATION)
        small = np.abs(pool) < 1e-4
        pool[small] = np.where(np.signbit(pool[small]), -1e-4, 1e-4)
        self.pool = pool.astype(dtype)

    def pieces(self, name: str, shape: tuple[int, ...]):
        left = int(np.prod(shape))
        if "norm" in name.lower() and name.endswith(".weight"):
            yield (self.pool[:left].astype(np.float32) + 1).astype(self.pool.dtype)
            return
        if name.endswith("qkv.bias"):  # EVA's keys have no bias
            piece = self.pool[:left].copy()
            piece.reshape(3, -1)[1] = 0
            yield piece
            return
        while left:
            start = int(self.random.integers(0, len(self.pool) - 1))
            piece = self.pool[start : start + left]
            left -= len(piece)
            yield piece


def write_weights(folder: Path, tensors: Shapes, dtype: np.dtype, seed: int) -> int:
    label = {"float16": "F16", "float32": "F32"}[dtype.name]
    sizes = {name: int(np.prod(shape)) * dtype.itemsize for name, shape in tensors.items()}
    shards, held = [[]], 0
    for name in tensors:
        if shards[-1] and held + sizes[name] > SHARD_BYTES:
            shards.append([])
            held = 0
        shards[-1].append(name)
        held += sizes[name]
    values, places = Values(dtype, seed), {}
    for number, names in enumerate(shards, 1):
        file = ("model.safetensors" if len(shards) == 1
                else f"model-{number:05d}-of-{len(shards):05d}.safetensors")
        header, offset = {"__metadata__": {"format": "pt"}}, 0
        for name in names:
            end = offset + sizes[name]
            header[name] = {
                "dtype": label, "shape": list(tensors[name]), "data_offsets": [offset, end]}
            offset, places[name] = end, file
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        with open(folder / file, "wb") as output:
            output.write(len(text).to_bytes(8, "little") + text)
            for name in names:
                for piece in values.pieces(name, tensors[name]):
                    output.write(piece.data)
        print(f"{file}: {len(names)} tensors, {offset / 1e9:.2f} GB", file=sys.stderr)
    total = sum(sizes.values())
    if len(shards) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": places}
        write_json(folder / "model.safetensors.index.json", index)
    return total


def text_config(size: dict, rows: int, **more) -> dict:
    config = {
        "architectures": ["LlamaForCausalLM"], "hidden_size": size["hidden"],
        "intermediate_size": size["ffn"], "model_type": "llama",
        "num_attention_heads": size["heads"], "num_hidden_layers": size["layers"],
        "vocab_size": rows,
    }
    return config | more | size.get("more", {})


def llava_config(size: dict, pieces: int, rows: int, dtype: str, text: dict) -> dict:
    """What every LLaVA model's config.json says."""
    vision = size["vision"]
    return {
        "ignore_index": -100, "image_token_index": pieces, "projector_hidden_act": "gelu",
        "text_config": text_config(size["text"], rows, **{
            "max_position_embeddings": 4096, "pad_token_id": 0, "rms_norm_eps": 1e-5, "torch_dtype": dtype} | text),
        "tie_word_embeddings": False, "torch_dtype": dtype,
        "vision_config": {
            "hidden_size": vision["hidden"], "image_size": vision["side"],
            "intermediate_size": vision["ffn"], "model_type": "clip_vision_model",
            "num_attention_heads": vision["heads"], "num_hidden_layers": vision["layers"],
            "patch_size": PATCH, "projection_dim": 768, "vocab_size": 32000,
        },
        "vision_feature_layer": -2, "vision_feature_select_strategy": "default", "vocab_size": rows,
    }


def write_llava(folder: Path, size: dict, pieces: int, rows: int, dtype: str) -> None:
    side = size["vision"]["side"]
    write_json(folder / "config.json", llava_config(size, pieces, rows, dtype, {}) | {
        "architectures": ["LlavaForConditionalGeneration"], "model_type": "llava"})
    write_json(folder / "preprocessor_config.json", processors.clip_images(side, side))
    write_json(folder / "processor_config.json", processors.llava_texts(PATCH, "default"))
    write_json(folder / "chat_template.json", {"chat_template": templates.USER_ASSISTANT})


def write_llava_next(folder: Path, size: dict, pieces: int, rows: int, dtype: str, **text) -> None:
    """`text`: more of the language model's configuration."""
    side = size["vision"]["side"]
    grid = [[side, 2 * side], [2 * side, side], [2 * side, 2 * side], [3 * side, side], [side, 3 * side]]
    write_json(folder / "config.json", llava_config(size, pieces, rows, dtype, text) | {
        "architectures": ["LlavaNextForConditionalGeneration"], "image_grid_pinpoints": grid,
        "model_type": "llava_next", "use_image_newline_parameter": True})
    if size["text"].get("more", {}).get("model_type") == "mistral":
        write_json(folder / "chat_template.json", {"chat_template": templates.INSTRUCTIONS})
    write_json(folder / "preprocessor_config.json", processors.llava_next_images(side, grid))
    write_json(folder / "processor_config.json", processors.llava_next_texts(PATCH))


def write_instructblip(
    folder: Path, size: dict, pieces: int, rows: int, bert_rows: int, dtype: str
) -> None:
    vision, qformer = size["vision"], size["qformer"]
    write_json(folder / "config.json", {
        "architectures": ["InstructBlipForConditionalGeneration"], "image_token_index": pieces + 1,
        "initializer_factor": 1.0, "initializer_range": 0.02, "model_type": "instructblip",
        "num_query_tokens": size["queries"],
        "qformer_config": {
            "cross_attention_frequency": 2, "encoder_hidden_size": vision["hidden"],
            "hidden_size": qformer["hidden"], "intermediate_size": qformer["ffn"],
            "layer_norm_eps": 1e-12, "max_position_embeddings": 512,
            "model_type": "instructblip_qformer", "num_attention_heads": qformer["heads"],
            "num_hidden_layers": qformer["layers"], "vocab_size": bert_rows,
        },
        "text_config": text_config(size["text"], rows, bos_token_id=0, eos_token_id=1,
                                   max_position_embeddings=2048, pad_token_id=-1,
                                   rms_norm_eps=1e-6, torch_dtype=dtype),
        "torch_dtype": dtype, "use_decoder_only_language_model": True,
        "vision_config": {
            "hidden_size": vision["hidden"], "image_size": vision["side"],
            "intermediate_size": vision["ffn"], "layer_norm_eps": 1e-6,
            "model_type": "instructblip_vision_model", "num_attention_heads": vision["heads"],
            "num_hidden_layers": vision["layers"], "patch_size": PATCH, "qkv_bias": True,
        },
    })
    write_json(folder / "preprocessor_config.json", processors.blip_images(vision["side"]))
    write_json(folder / "processor_config.json", processors.blip_texts(size["queries"]))


def main() -> None:
    given = parser(__doc__)
    given.add_argument("--arch", choices=sorted({arch for arch, _ in SHAPES}), required=True)
    given.add_argument("--shape", choices=sorted({shape for _, shape in SHAPES}), default="small")
    given.add_argument("--output", type=Path, required=True)
    given.add_argument("--vocab", type=Path, help="a tokenizer.model; all but small need LLaMA's, of 32,000 pieces")
    given.add_argument("--bert-vocab", type=Path, help="a vocab.txt; InstructBLIP's real shapes need BERT's")
    given.add_argument("--type", choices=("f16", "f32"), default="f16")
    given.add_argument("--seed", type=int, default=1)
    options = given.parse_args()
    if (options.arch, options.shape) not in SHAPES:
        given.error(f"no shape {options.shape} of {options.arch}")
    if options.shape != "small" and not options.vocab:
        given.error(f"--shape {options.shape} needs --vocab")
    if options.shape != "small" and options.arch == "instructblip" and not options.bert_vocab:
        given.error(f"--shape {options.shape} of instructblip needs --bert-vocab")

    folder, size = options.output, SHAPES[options.arch, options.shape]
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        given.error(f"{folder} is not empty")
    model = options.vocab.read_bytes() if options.vocab else sentencepiece_model(448)
    pieces = SentencePieceProcessor(model_proto=model).vocab_size()
    rows = -(-(pieces + 2) // 64) * 64
    dtype = np.dtype({"f16": np.float16, "f32": np.float32}[options.type])
    files = ("tokenizer.model",)
    if options.arch != "instructblip":
        shapes, write = (
            (llava_next, write_llava_next) if options.arch == "llava-next" else (llava, write_llava))
        tensors = shapes(size, rows)
        write(folder, size, pieces, rows, dtype.name)
        write_llama_tokenizer(folder, pieces, ["<image>", "<pad>"], legacy=False, files=files, model=model)
    else:
        words = options.bert_vocab.read_text(encoding="utf-8").splitlines() if options.bert_vocab else None
        bert = len(words) if words else 240
        tensors = instructblip(size, rows, bert + 1)
        write_instructblip(folder, size, pieces, rows, bert + 1, dtype.name)
        write_llama_tokenizer(folder, pieces, ["[PAD]", "<image>"], legacy=False, files=files,
                              bos="</s>", pad="[PAD]", model=model)
        write_bert_tokenizer(folder / "qformer_tokenizer", bert, ("vocab.txt",), words)
    total = write_weights(folder, tensors, dtype, options.seed)
    print(f"{folder}: {len(tensors)} tensors, {total / 1e9:.2f} GB", file=sys.stderr)

