"""Pictures as mmq reads them: files."""

import os
import struct
import tempfile
import zlib
from typing import Any, Optional, Tuple

import numpy as np

from ._errors import MmqError


def png(pixels: Any) -> bytes:
    """A PNG of uint8 pixels [height, width], [height, width, 1] (grey), [..., 3] (RGB) or [..., 4] (alpha, which mmq
    drops)."""
    array = np.asarray(pixels)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    channels = 1 if array.ndim == 2 else array.shape[2] if array.ndim == 3 else 0
    if array.dtype != np.uint8 or channels not in (1, 3, 4):
        raise MmqError("a picture as an array is uint8 [height, width] or [height, width, 3 or 4], not "
                       f"{array.dtype} {list(array.shape)}")
    height, width = array.shape[:2]
    if height == 0 or width == 0:
        raise MmqError(f"a picture without rows or columns: {list(array.shape)}")
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # in front of each row its filter: none
    rows[:, 1:] = array.reshape(height, -1)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    colour = {1: 0, 3: 2, 4: 6}[channels]
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows.tobytes(), 1)) + chunk(b"IEND", b""))


def as_file(image: Any, folder: str) -> Tuple[str, Optional[str]]:
    """The path of a picture, and the path of the file that was made for it, if one was, to be deleted."""
    if isinstance(image, str) or hasattr(image, "__fspath__"):
        # The session has its own working folder only by chance.
        return os.path.abspath(os.fspath(image)), None
    if hasattr(image, "convert") and hasattr(image, "getbands"):  # a PIL image, without needing PIL
        image = image.convert("RGB")
    data = png(image)
    handle, path = tempfile.mkstemp(suffix=".png", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
    except OSError:
        os.unlink(path)
        raise
    return path, path
