"""Reads safetensors files without copying: an 8-byte length, a JSON header, the tensors' bytes."""

import json
import os
from typing import Any, Dict, Tuple, cast

import numpy as np

from ._errors import MmqError

_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1",
          "BOOL": "?"}


def read(path: str) -> Dict[str, "np.ndarray[Any, Any]"]:
    """All tensors of a file as read-only arrays over the mapped file, which may be deleted meanwhile."""
    return read_all(path)[0]


def read_all(path: str) -> Tuple[Dict[str, "np.ndarray[Any, Any]"], Dict[str, str]]:
    """The same, with what the file says of itself (`__metadata__`)."""
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            size = os.fstat(file.fileno()).st_size
            if length > size - 8:
                raise ValueError("the header is longer than the file")
            header = json.loads(file.read(length))
            bytes_ = np.memmap(file, dtype=np.uint8, mode="r") if size > 0 else np.zeros(0, np.uint8)
        metadata = cast(Dict[str, str], header.pop("__metadata__", {}))
        arrays = {}
        for name, entry in header.items():
            first, end = (8 + length + offset for offset in entry["data_offsets"])
            arrays[name] = bytes_[first:end].view(_TYPES[entry["dtype"]]).reshape(entry["shape"])
        return arrays, metadata
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MmqError(f"{path}: cannot be read as safetensors: {error}") from error
