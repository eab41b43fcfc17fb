"""Draws the demo's bench: five small domains in the layouts of LingoQA, PMC-VQA, RSVQA, VQAv2 and DocVQA, with
the prepared form beside the parquet files. Running it again gives the same questions and pictures.

    .build/venv/bin/python tools/demo bench [FOLDER] [--seed 11] [--train 100] [--val 130]

Prints for each domain how far one gets by guessing from the question alone. Needs pillow, numpy and pyarrow.
"""

import csv
import io
import random
import shutil
from collections import Counter, defaultdict
from pathlib import Path

import pyarrow as arrow
import pyarrow.parquet as parquet

from tools.common.benches import vqav2_annotation, vqav2_picture, write_rsvqa, write_vqav2
from tools.common.commands import parser
from tools.common.paths import DEMO
from tools.data.prepare import prepare

from . import prompts, scores
from .scenes import BALLS, DOMAINS, THINGS, Asked, Scene

QUESTIONS = 2  # per picture; the official loaders take the first in their order


def draw(domain: str, count: int, draw_from: random.Random) -> list[tuple[Scene, list[Asked]]]:
    """Scenes with two questions each; the kinds of question take turns."""
    found, used = [], Counter()
    for _ in range(count):
        scene = DOMAINS[domain](draw_from)
        order = sorted(scene.asked, key=lambda asked: (used[asked.kind], draw_from.random()))
        chosen = order[: 1 if domain == "ad" else QUESTIONS]
        used.update(asked.kind for asked in chosen)
        found.append((scene, chosen))
    return found


def save(picture, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jpg":
        picture.save(path, quality=90)
    else:
        picture.save(path, optimize=True)


def sentence(asked: Asked) -> str:
    """The second annotator of a driving question says the same in other words."""
    if asked.kind in ("action", "side", "cones"):
        return {"action": "It should {}.", "side": "It is {}.", "cones": "There are {}."}[asked.kind].format(
            {"left": "on the left", "right": "on the right"}.get(asked.answer, asked.answer))
    return {"yes": "Yes.", "no": "No."}.get(asked.answer, f"It is {asked.answer}.")


def write_ad(bench: Path, split: str, drawn, draw_from) -> None:
    """LingoQA: three frames to a question, a train question answered once, a val question twice."""
    folder, rows = bench / "ad" / split, []
    for scene, chosen in drawn:
        segment = f"{draw_from.getrandbits(64):016x}"
        images = [f"images/{split}/{segment}/{i}.png" for i in range(len(scene.frames))]
        for frame, path in zip(scene.frames, images):
            save(frame, folder / path)
        for asked in chosen:
            answers = [asked.answer] if split == "train" else [asked.answer, sentence(asked)]
            question = f"{draw_from.getrandbits(64):016x}"
            rows += [{"question_id": question, "segment_id": segment, "images": images,
                      "question": asked.question, "answer": answer} for answer in answers]
    parquet.write_table(arrow.Table.from_pylist(rows), folder / f"{split}.parquet", compression="zstd")


def write_med(bench: Path, split: str, drawn, draw_from) -> None:
    """PMC-VQA: a csv with four lettered choices."""
    (bench / "med").mkdir(parents=True, exist_ok=True)
    with open(bench / "med" / f"{split}.csv", "w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["Figure_path", "Question", "Answer", "Choice A", "Choice B", "Choice C", "Choice D",
                      "Answer_label"])
        for number, (scene, chosen) in enumerate(drawn):
            name = f"PMC{draw_from.randrange(10**6, 10**7)}_{split}{number}.png"
            save(scene.picture(), bench / "med" / "images" / name)
            for asked in chosen:
                text = asked.choices["ABCD".index(asked.answer)].split(": ", 1)[1]
                out.writerow([name, asked.question, text, *asked.choices, asked.answer])


def write_rs(bench: Path, split: str, drawn, draw_from) -> None:
    """RSVQA: three json files and the pictures."""
    folder = bench / "rs"
    first = 0 if split == "train" else 500
    questions, answers, images = [], [], []
    for number, (scene, chosen) in enumerate(drawn):
        save(scene.picture(), folder / "Data" / f"{first + number}.png")
        ids = []
        for asked in chosen:
            ids.append(len(questions))
            common = {"id": ids[-1], "date_added": 0, "people_id": 1, "active": True}
            questions.append(common | {
                "img_id": first + number, "type": asked.type, "question": asked.question, "answers_ids": [ids[-1]]})
            answers.append(common | {"question_id": ids[-1], "answer": asked.answer})
        images.append({
            "id": first + number, "date_added": 0, "original_name": f"tile_{first + number}.tif", "sensor": "drawn",
            "people_id": 1, "questions_ids": ids, "active": True})
    write_rsvqa(folder, split, questions, answers, images)


def annotators(asked: Asked, draw_from: random.Random) -> list[dict]:
    """Ten people, most of whom are right. Where only two answers are likely, a wrong one that several give
    would count for much."""
    wrong = {"color": BALLS, "count": ["1", "2", "3", "4", "5"], "thing": THINGS, "side": ["left", "right"]}
    others = [a for a in wrong.get(asked.kind, ["yes", "no"]) if a != asked.answer]
    right = draw_from.choice([7, 8, 9, 10] if len(others) > 1 else [9, 10, 10])
    answers = [asked.answer] * right + [draw_from.choice(others) for _ in range(10 - right)]
    draw_from.shuffle(answers)
    return [{
        "answer": answer, "answer_id": person,
        "answer_confidence": "yes" if answer == asked.answer else draw_from.choice(["maybe", "no"]),
    } for person, answer in enumerate(answers, 1)]


def write_com(bench: Path, split: str, drawn, draw_from) -> None:
    """VQAv2: questions, annotations with ten answers, JPEG."""
    folder = bench / "vqav2"
    questions, annotations = [], []
    for number, (scene, chosen) in enumerate(drawn):
        image = (100_000 if split == "train" else 300_000) + 37 * number
        save(scene.picture(), vqav2_picture(folder, split, image))
        for place, asked in enumerate(chosen):
            question = image * 1000 + place
            questions.append({"image_id": image, "question": asked.question, "question_id": question})
            annotations.append(vqav2_annotation(
                image, question, asked.question, asked.answer, asked.type, annotators(asked, draw_from)))
    write_vqav2(folder, split, questions, annotations)


def write_doc(bench: Path, split: str, drawn, draw_from) -> None:
    """DocVQA: parquet with the pages inside; `validation` is its name for val."""
    name = "train" if split == "train" else "validation"
    rows = []
    for number, (scene, chosen) in enumerate(drawn):
        data = io.BytesIO()
        scene.picture().save(data, format="PNG", optimize=True)
        page = f"documents/{split}{number:04d}_1.png"
        for asked in chosen:
            rows.append({
                "question_id": len(rows), "question": asked.question,
                "answers": [asked.answer] + ([asked.answer.upper()] if asked.answer.isalpha() else []),
                "image": {"bytes": data.getvalue(), "path": None},
                "other_metadata": {"image": page, "data_split": name, "doc_id": number}})
    path = bench / "doc" / "data" / f"{name}-00000-of-00001.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(arrow.Table.from_pylist(rows), path, compression="zstd")


def guesses(drawn_by_domain: dict, seed: int) -> None:
    """Prints what the most frequent answer to each question, known from many scenes, scores on val."""
    best = scores.majority(seed)
    for domain, drawn in drawn_by_domain.items():
        draw_from = random.Random(f"{seed} {domain} guesses")
        found = defaultdict(list)
        for _, chosen in drawn:
            for asked in chosen:
                given = [a["answer"] for a in annotators(asked, draw_from)] if domain == "com" else None
                guess = best[domain].get(prompts.full(domain, asked), "")
                found[asked.kind].append(scores.score(domain, guess, asked, given))
        every = [value for values in found.values() for value in values]
        kinds = "  ".join(f"{kind} {100 * sum(v) / len(v):.0f}" for kind, v in sorted(found.items()))
        print(f"{domain:<4} question alone {100 * sum(every) / len(every):5.1f} %   {kinds}")


def main() -> None:
    given = parser(__doc__)
    given.add_argument("folder", type=Path, nargs="?", default=DEMO / "bench")
    given.add_argument("--seed", type=int, default=11)
    given.add_argument("--train", type=int, default=100)
    given.add_argument("--val", type=int, default=130)
    options = given.parse_args()
    writers = {"ad": write_ad, "med": write_med, "rs": write_rs, "com": write_com, "doc": write_doc}
    validation = {}
    for domain, writer in writers.items():
        shutil.rmtree(options.folder / ("vqav2" if domain == "com" else domain), ignore_errors=True)
        for split, count in (("train", options.train), ("val", options.val)):
            draw_from = random.Random(f"{options.seed} {domain} {split}")
            drawn = draw(domain, count, draw_from)
            writer(options.folder, split, drawn, draw_from)
            if split == "val":
                validation[domain] = drawn
    prepare(options.folder, ["ad", "doc"])
    size = sum(path.stat().st_size for path in options.folder.rglob("*") if path.is_file())
    print(f"{options.folder}: {size / 1e6:.2f} MB")
    guesses(validation, options.seed)

