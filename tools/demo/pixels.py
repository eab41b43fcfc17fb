"""Pictures as the models' own image processors prepare them, for one domain at a time. Training draws a few
hundred pictures a second; transformers' processors would cost more time than the drawing. `check` compares."""

import io

import numpy as np
import torch
from PIL import Image
from transformers.image_processing_utils import select_best_resolution

from tools.common.processors import DEVIATION, MEAN

from .folders import GRIDS, SQUARE, TILE
from .scenes import Scene


def as_stored(domain: str, picture: Image.Image) -> Image.Image:
    """The picture as it comes out of the bench's file: JPEG for `com`, unchanged for all others."""
    if domain != "com":
        return picture
    data = io.BytesIO()
    picture.save(data, format="JPEG", quality=90)
    return Image.open(data).convert("RGB")


def normalised(pictures: list[Image.Image]) -> torch.Tensor:
    """[pictures, 3, height, width]"""
    values = np.stack([np.asarray(picture) for picture in pictures]).astype(np.float32) / 255
    values = (values - np.float32(MEAN)) / np.float32(DEVIATION)
    return torch.from_numpy(values).permute(0, 3, 1, 2).contiguous()


def tiles(picture: Image.Image) -> list[Image.Image]:
    """LLaVA-Next: the whole picture in one tile, then the tiles of the best grid."""
    height, width = select_best_resolution((picture.height, picture.width), GRIDS)
    scale_w, scale_h = width / picture.width, height / picture.height
    if scale_w < scale_h:
        size = width, min(-(-picture.height * width // picture.width), height)
    else:
        size = min(-(-picture.width * height // picture.height), width), height
    canvas = Image.new("RGB", (width, height))
    canvas.paste(picture.resize(size, Image.BICUBIC), ((width - size[0]) // 2, (height - size[1]) // 2))
    found = [picture.resize((TILE, TILE), Image.BICUBIC)]
    for y in range(0, height, TILE):
        found += [canvas.crop((x, y, x + TILE, y + TILE)) for x in range(0, width, TILE)]
    return found


def prepare(architecture: str, domain: str, scenes: list[Scene]) -> tuple[torch.Tensor, tuple[int, int]]:
    """Pixel values, [pictures, tiles, 3, side, side], and the pictures' size (height, width)."""
    pictures = [as_stored(domain, scene.picture()) for scene in scenes]
    size = pictures[0].height, pictures[0].width
    if architecture == "llava-next":
        found = [tiles(picture) for picture in pictures]
        values = normalised([tile for some in found for tile in some])
        return values.view(len(pictures), -1, *values.shape[1:]), size
    values = normalised([picture.resize((SQUARE, SQUARE), Image.BICUBIC) for picture in pictures])
    return values[:, None], size


def check(architecture: str, processor, domain: str, scene: Scene) -> None:
    """Stops if transformers' processor sees the picture otherwise."""
    ours, _ = prepare(architecture, domain, [scene])
    theirs = processor.image_processor(as_stored(domain, scene.picture()), return_tensors="pt")["pixel_values"][0]
    theirs = theirs if architecture == "llava-next" else theirs[None]
    if ours[0].shape != theirs.shape or not torch.allclose(ours[0], theirs, atol=1e-4):
        raise SystemExit(f"{domain}: the image processor gives {tuple(theirs.shape)}, this {tuple(ours[0].shape)}")
