"""Times what transformers does of one LLaVA-Next picture on this CPU, at the 7B shape with random weights.

    .build/venv/bin/python tools/bench transformers [--tokens 2928] [--tiles 5] [--types float32,bfloat16]
        [--threads 2] [--json]

One decoder layer is timed and taken 32 times, for 7B weights in float32 would not fit an ordinary machine; the
tower (CLIP ViT-L/14 at 336 pixels) runs whole. What is printed leaves out embeddings, projector and head.
"""

import json
import time

import torch
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRotaryEmbedding

from tools.common.commands import parser

LAYERS = 32


def best(work, repetitions: int) -> float:
    """Seconds of the fastest run, after one that is not timed."""
    work()
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


@torch.no_grad()
def decoder(kind: torch.dtype, tokens: int, repetitions: int) -> float:
    config = LlamaConfig(hidden_size=4096, intermediate_size=11008, num_attention_heads=32, num_key_value_heads=32)
    config._attn_implementation = "sdpa"
    layer = LlamaDecoderLayer(config, 0).to(kind).eval()
    x = torch.randn(1, tokens, 4096, dtype=kind)
    positions = torch.arange(tokens)[None]
    angles = LlamaRotaryEmbedding(config)(x, positions)
    return LAYERS * best(lambda: layer(x, position_ids=positions, position_embeddings=angles), repetitions)


@torch.no_grad()
def tower(kind: torch.dtype, tiles: int, repetitions: int) -> float:
    config = CLIPVisionConfig(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16,
                              image_size=336, patch_size=14)
    model = CLIPVisionModel(config).to(kind).eval()
    pixels = torch.randn(tiles, 3, 336, 336, dtype=kind)
    return best(lambda: model(pixels), repetitions)


def main() -> None:
    given = parser(__doc__)
    given.add_argument("--tokens", type=int, default=2928)
    given.add_argument("--tiles", type=int, default=5)
    given.add_argument("--types", default="float32,bfloat16")
    given.add_argument("--threads", type=int, default=0)
    given.add_argument("--repetitions", type=int, default=2)
    given.add_argument("--json", action="store_true")
    options = given.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    found = {}
    for name in options.types.split(","):
        kind = getattr(torch, name)
        seconds = decoder(kind, options.tokens, options.repetitions)
        found[name] = {"decoder_seconds": round(seconds, 2), "tokens_per_second": round(options.tokens / seconds, 2),
                       "tower_seconds": round(tower(kind, options.tiles, options.repetitions), 2)}
        if not options.json:
            print(f"{name}: {options.tokens} tokens {seconds:.1f} s ({options.tokens / seconds:.1f} t/s), "
                  f"{options.tiles} tiles {found[name]['tower_seconds']:.1f} s", flush=True)
    if options.json:
        print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads(), "types": found}))

