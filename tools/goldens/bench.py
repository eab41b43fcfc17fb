"""Tests/Golden/bench: two domains of drawn pictures with questions, in the layouts of VQAv2 and RSVQA, small enough
to commit."""

import random
import shutil
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from tools.common.benches import vqav2_annotation, vqav2_picture, write_rsvqa, write_vqav2

PICTURES = {"train": 12, "val": 6}
COLOURS = {
    "red": (200, 40, 40), "blue": (50, 70, 200), "yellow": (230, 210, 60), "white": (240, 240, 240),
    "black": (25, 25, 30), "green": (40, 140, 60),
}


def grain(picture: Image.Image, seed: int, strength: float) -> Image.Image:
    noise = np.random.default_rng(seed).normal(0, strength, (picture.height, picture.width, 1))
    return Image.fromarray((np.asarray(picture) + noise).clip(0, 255).astype(np.uint8))


def street(draw_from: random.Random) -> tuple[Image.Image, list[tuple[str, str, str]]]:
    """An everyday picture: sky, ground, a house or none, balls; (question, answer, answer type)."""
    width, height = draw_from.choice([(96, 64), (64, 96), (80, 80), (100, 50)])
    picture = Image.new("RGB", (width, height), (150, 190, 235))
    draw = ImageDraw.Draw(picture)
    horizon = height * draw_from.randint(45, 65) // 100
    draw.rectangle([0, horizon, width, height], fill=(120, 170, 90))
    house = draw_from.random() < 0.6
    colour = draw_from.choice(sorted(COLOURS))
    if house:
        left, size = draw_from.randint(2, width // 2), min(width, height) // 3
        top = horizon - size // 2
        draw.rectangle([left, top, left + size, top + size], fill=(190, 150, 120))
        draw.polygon([(left - 3, top), (left + size // 2, top - size // 2), (left + size + 3, top)],
                     fill=(120, 60, 50))
    balls = draw_from.randint(1, 3)
    for i in range(balls):
        x, y, r = width * (2 * i + 1) // 6, horizon + (height - horizon) // 2, min(width, height) // 11
        draw.ellipse([x - r, y - r, x + r, y + r], fill=COLOURS[colour])
    return picture, [
        ("What color are the balls?" if balls > 1 else "What color is the ball?", colour, "other"),
        ("How many balls are there?", str(balls), "number"),
        ("Is there a house in the picture?", "yes" if house else "no", "yes/no"),
    ]


def aerial(draw_from: random.Random) -> tuple[Image.Image, list[tuple[str, str, str]]]:
    """A picture from above: fields, a road or none, roofs, water; (question, answer, type)."""
    side = 64
    picture = Image.new("RGB", (side, side), (95, 110, 70))
    draw = ImageDraw.Draw(picture)
    for i in range(4):
        for j in range(4):
            shade = draw_from.randint(-15, 15)
            draw.rectangle([16 * i, 16 * j, 16 * i + 14, 16 * j + 14],
                           fill=(100 + shade, 112 + shade, 75 + shade))
    road = draw_from.random() < 0.6
    if road:
        x = draw_from.randint(8, side - 12)
        draw.rectangle([x, 0, x + 4, side], fill=(140, 140, 140))
    water = draw_from.random() < 0.5
    if water:
        y = draw_from.randint(40, 50)
        draw.ellipse([4, y, 28, y + 12], fill=(40, 60, 90))
    places = [(i, j) for i in range(4) for j in range(3)]
    roofs = draw_from.randint(1, 6)
    for i, j in draw_from.sample(places, roofs):
        draw.rectangle([16 * i + 3, 13 * j + 2, 16 * i + 10, 13 * j + 8], fill=(170, 90, 70))
        draw.line([16 * i + 3, 13 * j + 5, 16 * i + 10, 13 * j + 5], fill=(200, 130, 100))
    return picture, [
        ("Is a road present?", "yes" if road else "no", "presence"),
        ("What is the number of buildings?", str(roofs), "count"),
        ("Are there more buildings than water areas?", "yes" if roofs > int(water) else "no", "comp"),
        ("What is the area covered by buildings?", f"{roofs * 42}m2", "area"),
    ]


def make_everyday(folder: Path, split: str, first_id: int, seed: int) -> None:
    draw_from = random.Random(seed)
    questions, annotations = [], []
    for i in range(PICTURES[split]):
        image_id = first_id + 37 * i
        picture, asked = street(draw_from)
        path = vqav2_picture(folder, split, image_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        grain(picture, seed + i, 4).save(path, quality=80)
        for number, (question, answer, kind) in enumerate(draw_from.sample(asked, 2)):
            question_id = image_id * 1000 + number
            questions.append(
                {"image_id": image_id, "question": question, "question_id": question_id})
            answers = []
            for person in range(10):  # most people agree, some are unsure, some are wrong
                right = draw_from.random() < 0.8
                wrong = {"yes/no": "no" if answer == "yes" else "yes", "number": "4"}
                answers.append({
                    "answer": answer if right else wrong.get(kind, "purple"),
                    "answer_confidence": "yes" if right else draw_from.choice(["maybe", "no"]),
                    "answer_id": person + 1,
                })
            annotations.append(vqav2_annotation(image_id, question_id, question, answer, kind, answers))
    write_vqav2(folder, split, questions, annotations)


def make_aerial(folder: Path, split: str, first_id: int, seed: int) -> None:
    draw_from = random.Random(seed)
    questions, answers, images = [], [], []
    (folder / "Data").mkdir(parents=True, exist_ok=True)
    for i in range(PICTURES[split]):
        image_id = first_id + i
        picture, asked = aerial(draw_from)
        picture.save(folder / "Data" / f"{image_id}.png", optimize=True)
        ids = []
        for question, answer, kind in draw_from.sample(asked, 2):
            number = len(questions)
            ids.append(number)
            questions.append({
                "id": number, "date_added": 0, "img_id": image_id, "people_id": 1, "type": kind,
                "question": question, "answers_ids": [number], "active": True,
            })
            answers.append({"id": number, "date_added": 0, "question_id": number, "people_id": 1,
                            "answer": answer, "active": True})
        if i % 4 == 3:  # the data set's files carry entries that are switched off
            questions.append({"id": len(questions), "active": False})
            answers.append({"id": len(answers), "active": False})
        images.append({"id": image_id, "date_added": 0, "original_name": f"tile_{image_id}.tif",
                       "sensor": "drawn", "people_id": 1, "questions_ids": ids, "active": True})
    write_rsvqa(folder, split, questions, answers, images)


def make(golden: Path) -> None:
    bench = golden / "bench"
    for name in ("vqav2", "rs"):
        shutil.rmtree(bench / name, ignore_errors=True)
    make_everyday(bench / "vqav2", "train", 101, 1)
    make_everyday(bench / "vqav2", "val", 100_203, 2)
    make_aerial(bench / "rs", "train", 0, 3)
    make_aerial(bench / "rs", "val", 500, 4)
