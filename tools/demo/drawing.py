"""What the drawn scenes are made of: letters, shapes, grain. Only Pillow's plain drawing, no font file."""

import random

import numpy as np
from PIL import Image, ImageDraw

# Capital letters and digits, five dots wide and seven high, one number per row from the top.
GLYPHS = {
    "A": (14, 17, 17, 31, 17, 17, 17), "B": (30, 17, 17, 30, 17, 17, 30), "C": (14, 17, 16, 16, 16, 17, 14),
    "D": (30, 17, 17, 17, 17, 17, 30), "E": (31, 16, 16, 30, 16, 16, 31), "F": (31, 16, 16, 30, 16, 16, 16),
    "G": (14, 17, 16, 23, 17, 17, 14), "I": (14, 4, 4, 4, 4, 4, 14), "J": (1, 1, 1, 1, 1, 17, 14),
    "K": (17, 18, 20, 24, 20, 18, 17), "L": (16, 16, 16, 16, 16, 16, 31), "M": (17, 27, 21, 21, 17, 17, 17),
    "N": (17, 25, 21, 21, 19, 17, 17), "O": (14, 17, 17, 17, 17, 17, 14), "P": (30, 17, 17, 30, 16, 16, 16),
    "R": (30, 17, 17, 30, 20, 18, 17), "S": (15, 16, 16, 14, 1, 1, 30), "T": (31, 4, 4, 4, 4, 4, 4),
    "U": (17, 17, 17, 17, 17, 17, 14), "V": (17, 17, 17, 17, 17, 10, 4), "X": (17, 17, 10, 4, 10, 17, 17),
    "Y": (17, 17, 10, 4, 4, 4, 4), "Z": (31, 1, 2, 4, 8, 16, 31),
    "0": (14, 17, 17, 17, 17, 17, 14), "1": (4, 12, 4, 4, 4, 4, 14), "2": (14, 17, 1, 6, 8, 16, 31),
    "3": (30, 1, 1, 14, 1, 1, 30), "4": (2, 6, 10, 18, 31, 2, 2), "5": (31, 16, 30, 1, 1, 17, 14),
    "6": (14, 16, 16, 30, 17, 17, 14), "7": (31, 1, 2, 4, 4, 4, 4), "8": (14, 17, 17, 14, 17, 17, 14),
    "9": (14, 17, 17, 15, 1, 1, 14),
}

COLOURS = {
    "red": (215, 35, 35), "blue": (45, 80, 220), "yellow": (240, 215, 40), "green": (40, 160, 60),
    "white": (245, 245, 245), "black": (20, 20, 22), "orange": (240, 130, 20), "purple": (140, 50, 170),
}


def text_width(text: str, scale: int) -> int:
    return (6 * len(text) - 1) * scale


def write(draw: ImageDraw.ImageDraw, x: int, y: int, text: str, scale: int, fill) -> None:
    """Text with its upper left corner at (x, y), each dot `scale` pixels wide."""
    for place, letter in enumerate(text):
        for row, dots in enumerate(GLYPHS[letter]):
            for column in range(5):
                if dots >> (4 - column) & 1:
                    left, top = x + (6 * place + column) * scale, y + row * scale
                    draw.rectangle([left, top, left + scale - 1, top + scale - 1], fill=fill)


def shape(draw: ImageDraw.ImageDraw, kind: str, x: float, y: float, r: float, fill) -> None:
    """A circle, square, triangle or cross round (x, y)."""
    if kind in ("circle", "round"):
        draw.ellipse([x - r, y - r, x + r, y + r], fill=fill)
    elif kind == "square":
        draw.rectangle([x - r, y - r, x + r, y + r], fill=fill)
    elif kind == "triangle":
        draw.polygon([(x, y - r), (x + r, y + r), (x - r, y + r)], fill=fill)
    elif kind == "cross":
        w = r * 0.38
        draw.rectangle([x - r, y - w, x + r, y + w], fill=fill)
        draw.rectangle([x - w, y - r, x + w, y + r], fill=fill)
    else:
        raise ValueError(kind)


def near(colour, amount: int, draw_from: random.Random):
    """A colour near the given one: all three parts moved by the same step."""
    step = draw_from.randint(-amount, amount)
    return tuple(min(255, max(0, part + step)) for part in colour)


def grain(picture: Image.Image, draw_from: random.Random, strength: float) -> Image.Image:
    """The picture with a little grey noise, in squares of two by two pixels."""
    width, height = picture.size
    noise = np.random.default_rng(draw_from.getrandbits(32)).standard_normal(
        ((height + 1) // 2, (width + 1) // 2), np.float32) * strength
    noise = noise.repeat(2, 0).repeat(2, 1)[:height, :width, None]
    pixels = np.asarray(picture).astype(np.float32) + noise
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
