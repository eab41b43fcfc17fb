"""Small pictures, drawn: smooth shading, shapes with hard edges, and a little noise."""

from pathlib import Path

import numpy as np
from PIL import Image

# name: (width, height)
SIZES = {
    "wide": (101, 37),
    "tall": (41, 97),
    "square": (64, 64),
    "small": (19, 13),
    "odd": (85, 67),
}


def draw(width: int, height: int, seed: int) -> np.ndarray:
    """A picture [height, width, 3] of uint8."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    x, y = x / max(width - 1, 1), y / max(height - 1, 1)
    picture = np.stack([x, y, 1 - (x + y) / 2], axis=-1) * random.uniform(100, 255, 3)
    for _ in range(4):
        cx, cy, radius = random.uniform(0, 1), random.uniform(0, 1), random.uniform(0.1, 0.4)
        colour = random.uniform(0, 255, 3)
        if random.random() < 0.5:
            inside = (x - cx) ** 2 + (y - cy) ** 2 < radius**2
        else:
            inside = (abs(x - cx) < radius) & (abs(y - cy) < radius / 2)
        picture[inside] = colour
    picture += random.normal(0, 6, picture.shape)
    return picture.clip(0, 255).astype(np.uint8)


def write_all(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, (width, height)) in enumerate(SIZES.items()):
        Image.fromarray(draw(width, height, 100 + seed)).save(folder / f"{name}.png", optimize=True)
