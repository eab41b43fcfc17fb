"""What a checkpoint's matrices are stored as."""

from pathlib import Path

from safetensors import safe_open

STORED = {"F32": "f32", "F16": "f16", "BF16": "bf16"}


def stored_type(checkpoint: Path) -> str:
    """The type of the checkpoint's matrices."""
    with safe_open(sorted(checkpoint.glob("*.safetensors"))[0], "np") as file:
        for name in file.keys():
            part = file.get_slice(name)
            if len(part.get_shape()) == 2 and part.get_dtype() in STORED:
                return STORED[part.get_dtype()]
    raise SystemExit(f"{checkpoint}: no matrix in the first safetensors file")
