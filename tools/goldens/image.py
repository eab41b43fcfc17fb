"""Tests/Golden/image: what Pillow and transformers do with pictures. SCHEMA.md there says what the files hold.

Needs transformers without torchvision, so that its Pillow path runs.
"""

import base64
import io
import json
import random
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import PIL
import torch
import transformers
from PIL import Image, features
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import (
    LlavaNextImageProcessorPil,
)
from transformers.models.llava_next.modeling_llava_next import (
    get_anyres_image_grid_shape,
    unpad_image,
)
from transformers.models.llava_next.processing_llava_next import LlavaNextProcessor

warnings.simplefilter("ignore")

# Arithmetic coding, which Pillow reads but does not write: 27 x 19, sequential 4:2:0 and
# progressive 4:2:2.
ARITHMETIC = (
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABsSFBcUERsXFhceHBsgKEIrKCUlKFE6PTBCYFVlZF9VXVtqeJmBanGQc1td"
    "hbWGkJ6jq62rZ4C8ybqmx5moq6T/2wBDARweHigjKE4rK06kbl1upKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSk"
    "pKSkpKSkpKSkpKSkpKSkpKSkpKSkpKT/yQARCAATABsDASIAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIRAxEAPwD/"
    "AEgmcCZdTUcFhMjycn2S78OYr1dQJPFcH/6USuDbpXEeq+rPEL4DJSODlLLwFU+AuV3Ur9uU9YD/2Q==",
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABsSFBcUERsXFhceHBsgKEIrKCUlKFE6PTBCYFVlZF9VXVtqeJmBanGQc1td"
    "hbWGkJ6jq62rZ4C8ybqmx5moq6T/2wBDARweHigjKE4rK06kbl1upKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSk"
    "pKSkpKSkpKSkpKSkpKSkpKSkpKSkpKT/ygARCAATABsDASEAAhEBAxEB/8wABgAQARD/2gAMAwEAAhADEAAAAf6QxTdo"
    "PiBQOTz10OObY8T/zAAEEAX/2gAIAQEAAQUClhME/P/MAAQRBf/aAAgBAwEBPwEeG18Mexj/zAAEEQX/2gAIAQIBAT8B"
    "wP/MAAQQBf/aAAgBAQAGPwLA/8wABBAF/9oACAEBAAE/IfXwnQC6/9oADAMBAAIAAwAAABD/AP8A/wCA/8wABBEF/9oA"
    "CAEDAQE/EP6mWFhA/8wABBEF/9oACAECAQE/EAVoHv/MAAQQBf/aAAgBAQABPxDTQF3+ert/iVsb+MD/2Q==",
)


def crc(array):
    return zlib.crc32(np.ascontiguousarray(array).tobytes())


def judge(data):
    """What Pillow makes of a file: an RGB array, or None where it raises."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.array(image.convert("RGB"))
    except Exception:
        return None


# --- pictures ---------------------------------------------------------------------------------


def noise(width, height, seed):
    """[height, width, 3] bytes of a linear congruential generator; the tests compute them too."""
    state, samples = seed, bytearray()
    for _ in range(width * height * 3):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        samples.append(state >> 56)
    return np.frombuffer(bytes(samples), np.uint8).reshape(height, width, 3)


def textured(rng, width, height, channels):
    y, x = np.mgrid[0:height, 0:width]
    planes = [
        x * 7 + y * 3 + 40 * np.sin((x + k * 5) / 3.0) + rng.integers(0, 60, (height, width))
        for k in range(channels)
    ]
    array = (np.stack(planes, -1) % 256).astype(np.uint8)
    return array[..., 0] if channels == 1 else array


# --- JPEG -------------------------------------------------------------------------------------


def save_jpeg(array, mode, **options):
    buffer = io.BytesIO()
    Image.fromarray(array, mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def segments(data):
    """(marker, start, end) of the segments before the first scan."""
    position = 2
    while data[position + 1] != 0xDA:
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        yield data[position + 1], position, position + 2 + length
        position += 2 + length


def with_sampling(data, factors):
    """Replaces the sampling factors; right only where the number of blocks stays the same."""
    data = bytearray(data)
    for marker, start, _ in segments(data):
        if marker in (0xC0, 0xC2):
            for index, factor in enumerate(factors):
                data[start + 11 + 3 * index] = factor
    return bytes(data)


def with_adobe(data, transform):
    """Sets the Adobe marker's transform, or takes the marker out (None)."""
    for marker, start, end in segments(data):
        if marker == 0xEE:
            if transform is None:
                return data[:start] + data[end:]
            return data[: end - 1] + bytes([transform]) + data[end:]
    raise ValueError("no Adobe marker")


def jpeg_cases():
    rng = np.random.default_rng(11)
    for mode, channels in (("RGB", 3), ("L", 1), ("CMYK", 4)):
        for subsampling in ((0, 1, 2, "4:1:1") if channels == 3 else (0, 2)):
            for progressive in (False, True):
                for width, height in ((1, 1), (7, 3), (33, 17), (18, 40)):
                    if mode == "L" and subsampling:
                        continue
                    options = {"quality": int(rng.choice([20, 75, 95])), "progressive": progressive}
                    if mode != "L":
                        options["subsampling"] = subsampling
                    if width > 7:
                        options["restart_marker_blocks"] = int(rng.integers(0, 4))
                    array = textured(rng, width, height, channels)
                    name = f"{mode} {width}x{height} {subsampling} {options}"
                    yield name, save_jpeg(array, mode, **options)
    square = save_jpeg(textured(rng, 32, 32, 3), "RGB", subsampling=1)
    yield "RGB 4:4:0", with_sampling(square, (0x12, 0x11, 0x11))
    yield "RGB as it is", save_jpeg(textured(rng, 21, 13, 3), "RGB", keep_rgb=True)
    inks = save_jpeg(textured(rng, 21, 13, 4), "CMYK", subsampling=0)
    yield "YCCK", with_adobe(inks, 2)
    yield "CMYK without Adobe", with_adobe(inks, None)
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: to be turned by a right angle
    yield "EXIF", save_jpeg(textured(rng, 24, 10, 3), "RGB", exif=exif)
    good = save_jpeg(textured(rng, 9, 7, 3), "RGB")
    tables = b"".join(good[a:b] for marker, a, b in segments(good) if marker == 0xDB)
    bare = b"".join(good[a:b] for marker, a, b in segments(good) if marker != 0xDB)
    scans = good[max(end for _, _, end in segments(good)) :]
    yield "tables first", b"\xff\xd8" + tables + b"\xff\xd9\xff\xd8" + bare + scans
    yield "junk after the end", save_jpeg(textured(rng, 9, 9, 3), "RGB") + b"more"
    yield "no end marker", save_jpeg(textured(rng, 9, 9, 3), "RGB")[:-2]
    for index, text in enumerate(ARITHMETIC):
        yield f"arithmetic {index}", base64.b64decode(text)
    two = save_jpeg(textured(rng, 9, 9, 3), "RGB")
    yield "12 bits", two.replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c")
    yield "no rows", two.replace(b"\xff\xc0\x00\x11\x08\x00\x09", b"\xff\xc0\x00\x11\x08\x00\x00")
    yield "unknown marker", two[:2] + b"\xff\x05" + two[2:]
    yield "second frame header", two[:2] + two[two.index(b"\xff\xc0") :][:19] + two[2:]
    huge = b"\xff\xc0\x00\x11\x08" + struct.pack(">HH", 40000, 40000)
    yield "40000 x 40000", two.replace(two[two.index(b"\xff\xc0") :][:9], huge)


# --- PNG, written by hand: Pillow writes only some of its kinds --------------------------------

# Left, top, step to the right, step down.
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4)]
ADAM7 += [(1, 0, 2, 2), (0, 1, 1, 2)]
KINDS = [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16), (3, 1), (3, 2), (3, 4), (3, 8)]
KINDS += [(4, 8), (4, 16), (6, 8), (6, 16)]
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def pack_row(row, depth):
    values = row.reshape(-1)
    if depth == 16:
        return values.astype(">u2").tobytes()
    if depth == 8:
        return values.astype(np.uint8).tobytes()
    bits = "".join(format(int(value), f"0{depth}b") for value in values)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))


def filtered(rng, rows, step):
    """Rows with a random filter each."""
    out, above = bytearray(), None
    for row in rows:
        above = above if above is not None and len(above) == len(row) else bytes(len(row))
        kind = int(rng.integers(0, 5))
        out.append(kind)
        for i, value in enumerate(row):
            a = row[i - step] if i >= step else 0
            b = above[i]
            c = above[i - step] if i >= step else 0
            nearest = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
            out.append((value - (0, a, b, (a + b) // 2, nearest)[kind]) & 255)
        above = row
    return bytes(out)


def save_png(rng, width, height, color, depth, adam7=0, before=b"", after=b"", **options):
    """options: split (bytes an IDAT), colors (entries of the palette), end (False: no IEND)."""
    samples = rng.integers(0, 1 << depth, (height, width, CHANNELS[color]))
    y, x = np.mgrid[0:height, 0:width]
    ramp = ((x + y)[..., None] * 3) % (1 << depth)
    samples = np.where(rng.random((height, width, 1)) < 0.3, samples, ramp)
    step = max(1, CHANNELS[color] * depth // 8)
    data = b""
    for left, top, right, down in ADAM7 if adam7 else [(0, 0, 1, 1)]:
        part = samples[top::down, left::right]
        if part.size:
            data += filtered(rng, [pack_row(row, depth) for row in part], step)
    stream = zlib.compress(data, 9)
    split = options.get("split") or len(stream)
    parts = [chunk(b"IDAT", stream[i : i + split]) for i in range(0, len(stream), split)]
    colors = options.get("colors", 1 << depth) if color == 3 else 0
    entries = rng.integers(0, 256, 3 * colors, np.uint8).tobytes()
    palette = chunk(b"PLTE", entries) if colors else b""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, adam7)
    end = chunk(b"IEND", b"") if options.get("end", True) else b""
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + palette + before
    return head + b"".join(parts) + after + end


def png_cases():
    rng = np.random.default_rng(12)
    for color, depth in KINDS:
        for adam7 in (0, 1):
            for width, height in ((1, 1), (7, 3), (19, 11)):
                yield f"{color} {depth} bit {width}x{height} adam7 {adam7}", save_png(
                    rng, width, height, color, depth, adam7
                )
        key = {
            0: struct.pack(">H", 1 % (1 << depth)),
            2: struct.pack(">HHH", 3, 6, 9),
            3: bytes([0, 128, 255])[: 1 << depth],
        }.get(color)
        extra = chunk(b"gAMA", struct.pack(">I", 220000)) + (chunk(b"tRNS", key) if key else b"")
        yield f"{color} {depth} bit, gamma, transparency, split", save_png(
            rng, 13, 9, color, depth, before=extra, split=10
        )
    yield "palette too short", save_png(rng, 12, 12, 3, 8, colors=100)
    yield "no palette", save_png(rng, 12, 12, 3, 4, colors=0)
    yield "palette too long", save_png(rng, 12, 12, 3, 8, colors=300)
    yield "one clear entry", save_png(rng, 12, 12, 3, 2, before=chunk(b"tRNS", b"\xff\0"))
    yield "unknown chunks", save_png(
        rng, 5, 5, 2, 8, before=chunk(b"abCD", b"hi"), after=chunk(b"tEXt", b"a\0b")
    )
    yield "data after the data", save_png(rng, 5, 5, 2, 8, after=chunk(b"IDAT", b"junk"))
    yield "no IEND", save_png(rng, 5, 5, 2, 8, end=False)
    yield "short gAMA", save_png(rng, 5, 5, 2, 8, before=chunk(b"gAMA", b"\0"))
    yield "wrong checksum", save_png(rng, 5, 5, 2, 8, before=chunk(b"pHYs", bytes(9))[:-1] + b"?")
    good = save_png(rng, 5, 5, 2, 8)
    data = good.index(b"IDAT")
    yield "wrong checksum of the data", good[:-14] + b"\0\0" + good[-12:]
    yield "wrong byte in the data", good[: data + 20] + b"\x55" + good[data + 21 :]
    yield "no data", good[: data - 4] + chunk(b"IEND", b"")
    sizes = {"no columns": (0, 5), "no rows": (5, 0), "40000 x 40000": (40000, 40000)}
    for name, size in sizes.items():
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0))
        yield name, good[:8] + header + good[data - 4 :]
    for color, depth in ((0, 3), (2, 4), (3, 16), (5, 8)):
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", 5, 5, depth, color, 0, 0, 0))
        yield f"impossible {color} {depth} bit", good[:8] + header + good[data - 4 :]


def other_cases():
    rng = np.random.default_rng(13)
    image = Image.fromarray(textured(rng, 6, 5, 3))
    for name in ("GIF", "WEBP", "TIFF", "BMP"):
        buffer = io.BytesIO()
        image.save(buffer, name)
        yield name, buffer.getvalue()
    yield "text", b"Not a picture, but a text.\n"
    yield "empty", b""


def make_decode(folder):
    blob, cases = bytearray(), []
    for kind, made in (("JPEG", jpeg_cases()), ("PNG", png_cases()), ("other", other_cases())):
        for name, data in made:
            result = judge(data) if kind != "other" else None
            case = {"name": f"{kind} {name}", "offset": len(blob), "bytes": len(data)}
            if result is not None:
                case.update(width=result.shape[1], height=result.shape[0], crc32=crc(result))
            cases.append(case)
            blob += data
    (folder / "decode.bin").write_bytes(blob)
    broken = make_broken(bytes(blob), cases)
    versions = {"pillow": PIL.__version__, "libjpeg_turbo": features.version("libjpeg_turbo")}
    write(folder / "decode.json", {"versions": versions, "cases": cases, "broken": broken})


def make_broken(blob, cases):
    """Truncations and wrong bytes of good files, and what Pillow makes of each."""
    rng = random.Random(14)
    found = []
    for index, case in enumerate(cases):
        if "crc32" not in case:
            continue
        data = blob[case["offset"] : case["offset"] + case["bytes"]]
        lengths = sorted(rng.sample(range(len(data)), min(len(data), 24)))
        lengths += [length for length in range(len(data) - 20, len(data)) if length not in lengths]
        entry = {"case": index, "lengths": lengths, "crc32": [], "flips": []}
        for length in lengths:
            result = judge(data[:length])
            entry["crc32"].append(None if result is None else crc(result))
        # Wrong bytes in a progressive JPEG can lose a scan, and the guesses that libjpeg-turbo
        # then makes (block smoothing) differ between its versions.
        if index % 3 == 0 and "rogressive': True" not in case["name"]:
            for _ in range(12):
                place, value = rng.randrange(3, len(data)), rng.randrange(256)
                result = judge(data[:place] + bytes([value]) + data[place + 1 :])
                entry["flips"].append([place, value, None if result is None else crc(result)])
        found.append(entry)
    return found


# --- resize -----------------------------------------------------------------------------------


def make_resize(folder):
    sizes = [
        (1, 1, 1, 1), (1, 1, 5, 3), (5, 3, 1, 1), (7, 3, 3, 7), (16, 16, 16, 8), (16, 16, 8, 16),
        (16, 16, 16, 16), (64, 48, 14, 14), (14, 14, 64, 48), (101, 67, 33, 22), (33, 22, 101, 67),
        (300, 2, 7, 9), (2, 300, 9, 7), (50, 40, 51, 41), (50, 40, 49, 39), (97, 13, 13, 97),
        (40, 60, 30, 40), (40, 61, 30, 40), (40, 62, 30, 40), (40, 61, 50, 40),
        (656, 172, 384, 100), (640, 30, 336, 16), (30, 640, 16, 336), (200, 150, 224, 224),
        (3, 3, 200, 1), (255, 1, 2, 1),
    ]  # fmt: skip
    rng = random.Random(15)
    sizes += [tuple(rng.randint(1, 60) for _ in range(4)) for _ in range(40)]
    cases = []
    for seed, (width, height, new_width, new_height) in enumerate(sizes):
        image = Image.fromarray(noise(width, height, seed))
        result = np.array(image.resize((new_width, new_height), Image.BICUBIC))
        cases.append([seed, width, height, new_width, new_height, crc(result)])
    columns = "seed width height newWidth newHeight crc32"
    write(folder / "resize.json", {"columns": columns, "cases": cases})


# --- processors -------------------------------------------------------------------------------

REAL = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
LLAVA = {
    # The settings of llava-v1.6-vicuna-7b-hf, the small grids of tests, and what else is possible.
    "real": (
        dict(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}),
        [(301, 200)],
    ),
    "small": (
        dict(
            size={"shortest_edge": 28},
            crop_size={"height": 28, "width": 28},
            image_grid_pinpoints=[[28, 56], [56, 28], [56, 56], [84, 28], [28, 84]],
        ),
        [(1, 1), (28, 28), (28, 29), (64, 48), (48, 64), (50, 37), (37, 50), (300, 20), (20, 300),
         (90, 91), (640, 427), (3, 2), (57, 56), (500, 1), (1, 500)],
    ),
    "resize off": (
        dict(size={"shortest_edge": 30}, crop_size={"height": 20, "width": 26}, do_resize=False,
             image_grid_pinpoints=[[40, 60], [30, 50]]),
        [(64, 48), (31, 90)],
    ),
    "rest tiles": (
        dict(size={"shortest_edge": 24}, crop_size={"height": 28, "width": 21},
             image_grid_pinpoints=[[50, 70], [28, 90]]),
        [(64, 48), (31, 90), (90, 31)],
    ),
    "exact size": (
        dict(size={"height": 20, "width": 30}, crop_size={"height": 25, "width": 25},
             do_rescale=False, image_grid_pinpoints=[[25, 50], [50, 50]]),
        [(64, 48), (31, 90)],
    ),
    "no crop": (
        dict(size={"shortest_edge": 22}, crop_size=22, do_center_crop=False, do_normalize=False,
             rescale_factor=0.0125, image_grid_pinpoints=[[44, 22], [44, 44]]),
        [(64, 48), (31, 90)],
    ),
}  # fmt: skip
# Real settings, then small ones; a crop smaller and larger than what is resized, and none.
CLIP = {
    "real": (dict(size={"shortest_edge": 336}, crop_size=336), [(640, 480), (427, 640), (512, 512), (100, 75)]),
    "small": (dict(size={"shortest_edge": 30}, crop_size=30), [(1, 1), (64, 48), (31, 90), (30, 30), (7, 500)]),
    "middle": (dict(size={"shortest_edge": 41}, crop_size={"height": 25, "width": 30}), [(64, 48), (31, 90)]),
    "padded": (dict(size={"shortest_edge": 19}, crop_size=26), [(64, 48), (31, 90), (20, 20)]),
    "squashed": (dict(size={"height": 24, "width": 24}, do_center_crop=False), [(64, 48), (31, 90)]),
    "cropped": (dict(size={"shortest_edge": 24}, do_resize=False, crop_size=24), [(64, 48), (13, 90)]),
}  # fmt: skip
BLIP = {
    "real": (dict(size={"height": 224, "width": 224}), [(100, 75)]),
    "small": (dict(size={"height": 30, "width": 30}), [(1, 1), (64, 48), (31, 90), (30, 30)]),
    "flat": (dict(size={"height": 12, "width": 31}, image_mean=[0.5, 0.25, 0.125]), [(64, 48)]),
}


def settings(processor):
    """The file as hubs have it (flat), and as transformers 5 writes it (nested)."""
    flat = json.loads(processor.to_json_string())
    nested = {"image_processor": flat, "processor_class": "Processor"}
    return {"preprocessor_config": json.dumps(flat), "processor_config": json.dumps(nested)}


def make_tiles(folder):
    groups = []
    for family, made, build in (
        ("llava_next", LLAVA, LlavaNextImageProcessorPil),
        ("blip", BLIP, BlipImageProcessorPil),
        ("clip", CLIP, CLIPImageProcessorPil),
    ):
        for name, (options, sizes) in made.items():
            processor = build(**options)
            cases = []
            for seed, (width, height) in enumerate(sizes):
                image = Image.fromarray(noise(width, height, seed))
                values = processor(image, return_tensors="np")["pixel_values"][0]
                assert values.dtype == np.float32
                places = [int(i) for i in np.linspace(0, values.size - 1, 16)]
                case = {"seed": seed, "width": width, "height": height, "shape": list(values.shape)}
                case["crc32"] = crc(values.astype("<f4"))
                case["places"] = places
                case["values"] = [float(values.reshape(-1)[i]) for i in places]
                cases.append(case)
            groups.append({"family": family, "name": name, **settings(processor), "cases": cases})
    write(folder / "tiles.json", {"transformers": transformers.__version__, "groups": groups})


def make_tokens(folder):
    rng = random.Random(16)
    table = [(640, 480), (480, 640), (512, 512), (256, 256), (1700, 2200), (1920, 1080)]
    table += [(9600, 1080), (656, 1722), (2501, 2928), (336, 336), (335, 337), (1, 1), (20000, 3), (3, 20000)]
    table += [(640, 427), (427, 640), (500, 375), (375, 500)]
    table += [(rng.randint(1, 3000), rng.randint(1, 3000)) for _ in range(250)]
    grids = {"real": (REAL, 336, 14), "small": (LLAVA["small"][0]["image_grid_pinpoints"], 28, 7)}
    groups = []
    for name, (pinpoints, side, patch) in grids.items():
        processor = LlavaNextProcessor.__new__(LlavaNextProcessor)
        processor.image_processor = LlavaNextImageProcessorPil(
            size={"shortest_edge": side},
            crop_size={"height": side, "width": side},
            image_grid_pinpoints=pinpoints,
        )
        processor.patch_size = patch
        processor.num_additional_image_tokens = 1
        rows = [token_row(processor, width, height, side) for width, height in table]
        groups.append({"name": name, "pinpoints": pinpoints, "side": side, "patch": patch, "rows": rows})
    columns = "width height features gridRows gridColumns top bottom left right"
    write(folder / "tokens.json", {"columns": columns, "groups": groups})


def token_row(processor, width, height, side):
    features = processor._get_number_of_features(height, width, side, side)
    pinpoints = processor.image_processor.image_grid_pinpoints
    grid = get_anyres_image_grid_shape((height, width), pinpoints, side)
    patches = side // processor.patch_size
    rows, columns = grid[0] * patches, grid[1] * patches
    # Each cell holds its place, so that what is left of the grid tells the range.
    cells = torch.stack(torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij"))
    left = unpad_image(cells, (height, width))
    if left.shape[1] == 0 or left.shape[2] == 0:
        edges = [-1, -1, -1, -1]
    else:
        edges = [int(left[0].min()), int(left[0].max()) + 1, int(left[1].min()), int(left[1].max()) + 1]
    return [width, height, features, grid[0], grid[1], *edges]


def write(path, value):
    """JSON with a line for each element of the lists one level down."""
    lines = []
    for key, item in value.items():
        if isinstance(item, list):
            body = ",\n".join(json.dumps(element, separators=(",", ":")) for element in item)
            lines.append(f"{json.dumps(key)}: [\n{body}\n]")
        else:
            lines.append(f"{json.dumps(key)}: {json.dumps(item)}")
    path.write_text("{" + ",\n".join(lines) + "}\n")


def make(golden: Path) -> None:
    folder = golden / "image"
    folder.mkdir(parents=True, exist_ok=True)
    for part in (make_decode, make_resize, make_tiles, make_tokens):
        part(folder)
