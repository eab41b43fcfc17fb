"""Tests/Golden/ggml/blocks.safetensors: blocks that ggml's own quantizers make of numbers with importance, so that
mmq's leave no more error behind.

Needs ggml's base library, from a build of llama.cpp, and is passed over without it:

    GGML_BASE=.../libggml-base.so .build/venv/bin/python tools/goldens ggml
"""

import ctypes
import os
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import save_file

TYPES = {name.lower(): gguf.GGMLQuantizationType[name]
         for name in ("Q4_0", "IQ4_NL", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K")}
ROWS, COLS = 32, 256


def cases() -> dict[str, np.ndarray]:
    """Numbers as weights are distributed, and with heavy tails."""
    random = np.random.default_rng(3)
    normal = random.standard_normal((ROWS, COLS)) * 0.02
    return {"normal": normal.astype(np.float32),
            "heavy": (normal * np.exp(0.7 * random.standard_normal((ROWS, COLS)))).astype(np.float32)}


def make(golden: Path) -> None:
    path = os.environ.get("GGML_BASE")
    if not path:
        print("  PASSED OVER: GGML_BASE is not set, and ggml/blocks.safetensors is not made")
        return
    quantize = ctypes.CDLL(path).ggml_quantize_chunk
    quantize.restype = ctypes.c_size_t
    importance = np.exp(2 * np.random.default_rng(4).standard_normal(COLS)).astype(np.float32)
    tensors = {"importance": importance}
    for name, values in cases().items():
        tensors[name] = values
        for type_name, type_ in TYPES.items():
            elements, size = gguf.GGML_QUANT_SIZES[type_]
            for weighted in (False, True):
                blocks = np.zeros((ROWS, COLS // elements * size), np.uint8)
                quantize(ctypes.c_int(int(type_)), values.ctypes.data_as(ctypes.c_void_p),
                         blocks.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(0), ctypes.c_int64(ROWS),
                         ctypes.c_int64(COLS), importance.ctypes.data_as(ctypes.c_void_p) if weighted else None)
                tensors[f"{name}.{type_name}{'.weighted' if weighted else ''}"] = blocks
    folder = golden / "ggml"
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "blocks.safetensors")
