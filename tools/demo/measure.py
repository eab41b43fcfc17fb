"""Measures a demo model: accuracy on the val split through mmq at f16, q8_0 and q4_0, and how many of the f16
answers are token by token those of transformers on the same folder.

    .build/venv/bin/python tools/demo measure models/demo/llava-next [--bench models/demo/bench]
        [--mmq .build/release/mmq] [--types f16,q8_0,q4_0] [--no-reference] [--wrong]

Scores are mmq's own (`evaluate --metric official`), but for `ad`, whose judge is a model of its own: there an
answer counts if it equals one of the question's references but for letter case and a final full stop.
"""

import csv
import json
import sqlite3
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas
import torch
from PIL import Image

from tools.common.benches import vqav2_picture
from tools.common.commands import output_of, parser
from tools.common.orders import datasets_order, pandas_order, python_order
from tools.common.paths import DEMO, MMQ
from tools.goldens import instructblip, llava_next

from . import prompts
from .scenes import DOMAINS, Asked

MOST_TOKENS = 8


def rows(bench: Path, domain: str) -> list[tuple[list[Path], Asked, list[str]]]:
    """The val questions in the official loaders' order: picture files, question, references. Reads the official
    files, not mmq's prepared ones where there is a choice."""
    if domain == "ad":
        folder = bench / "ad" / "val"
        found = pandas.read_parquet(folder / "val.parquet")
        found = found.iloc[pandas_order(len(found))]
        references = found.groupby("question_id")["answer"].apply(list)
        return [([folder / name for name in row.images], Asked("", row.question, row.answer),
                 references[row.question_id]) for row in found.itertuples()]
    if domain == "med":
        with open(bench / "med" / "val.csv", newline="") as file:
            table = list(csv.DictReader(file))
        return [([bench / "med" / "images" / row["Figure_path"]],
                 Asked("", row["Question"], row["Answer_label"], choices=[row[f"Choice {x}"] for x in "ABCD"]),
                 [row["Answer_label"]]) for row in (table[i % len(table)] for i in pandas_order(2 * len(table)))]
    if domain == "rs":
        files = [json.loads((bench / "rs" / f"USGS_split_val_{name}.json").read_text())[name]
                 for name in ("questions", "answers")]
        answers = {answer["id"]: answer["answer"] for answer in files[1]}
        active = [question for question in files[0] if question["active"]]
        return [([bench / "rs" / "Data" / f"{q['img_id']}.png"],
                 Asked(q["type"], q["question"], answers[q["answers_ids"][0]]), [])
                for q in (active[i] for i in python_order(len(active)))]
    if domain == "com":
        folder = bench / "vqav2"
        questions = json.loads((folder / "v2_OpenEnded_mscoco_val2014_questions.json").read_text())["questions"]
        return [([vqav2_picture(folder, "val", q["image_id"])], Asked("", q["question"], ""), [])
                for q in (questions[i] for i in python_order(len(questions)))]
    lines = [json.loads(line) for line in (bench / "doc" / "validation.jsonl").read_text().splitlines()]
    return [([bench / "doc" / lines[i]["image"]], Asked("", lines[i]["question"], ""), lines[i]["answers"])
            for i in datasets_order(len(lines))]


def plain(text: str) -> str:
    return text.strip().lower().removesuffix(".")


def answers(study: Path) -> dict[str, list[tuple[int, str, str, list[int]]]]:
    """Per domain: place in the order, question, answer, tokens."""
    found = defaultdict(list)
    with sqlite3.connect(study) as base:
        for domain, position, question, text, tokens in base.execute(
                "SELECT s.domain, a.position, a.question, a.text, a.tokens FROM answer a "
                "JOIN answer_set s ON s.id = a.answer_set ORDER BY s.domain, a.position"):
            found[domain].append((position, question, text, json.loads(tokens)))
    return found


def score(mmq: Path, study: Path, given: dict, samples: dict) -> dict[str, float]:
    """Percent per domain."""
    found = {}
    for one in json.loads(output_of([mmq, "evaluate", "--study", study, "--metric", "official", "--json"]))["scores"]:
        if "score" in one:
            found.setdefault(one["domain"], 100 * one["score"]["value"])
    right = {}
    for position, _, text, _ in given["ad"]:
        references = samples["ad"][position][2]
        right[position] = any(plain(text) == plain(reference) for reference in references)
    found["ad"] = 100 * sum(right.values()) / len(right)
    return found


def generated(model, processor, pictures: list[Path], prompt: str) -> list[int]:
    """What transformers generates greedily, without the end token."""
    frames = [np.asarray(Image.open(path).convert("RGB")) for path in pictures]
    inputs = processor(images=Image.fromarray(np.concatenate(frames, 1)), text=prompt, return_tensors="pt")
    given = inputs["input_ids"][0].tolist()
    out = model.generate(**inputs, do_sample=False, max_new_tokens=MOST_TOKENS)[0].tolist()
    new = out[len(given):] if out[: len(given)] == given else out
    return [token for token in new if token != 2]


@torch.no_grad()
def same_tokens(folder: Path, given: dict, samples: dict) -> dict[str, tuple[int, int, list]]:
    """Per domain: answers that transformers gives alike, answers, the differing ones."""
    config = json.loads((folder / "config.json").read_text())
    is_llava = config["model_type"] == "llava_next"
    model, processor = (llava_next if is_llava else instructblip).load(folder)
    found, known = {}, {}
    for domain in DOMAINS:
        same, differing = 0, []
        for position, question, text, tokens in given[domain]:
            pictures, asked, _ = samples[domain][position]
            if asked.question != question:
                raise SystemExit(f"{domain} {position}: mmq asks {question!r}, the bench {asked.question!r}")
            prompt = prompts.full(domain, asked)
            prompt = prompts.vicuna(prompt) if is_llava else prompts.instruct(prompt)
            if (pictures[0], prompt) not in known:  # `ad` asks everything twice
                known[pictures[0], prompt] = generated(model, processor, pictures, prompt)
            new = known[pictures[0], prompt]
            if new == [token for token in tokens if token != 2]:
                same += 1
            else:
                differing.append((position, question, text, processor.tokenizer.decode(new)))
        found[domain] = same, len(given[domain]), differing
    return found


def main() -> None:
    given = parser(__doc__)
    given.add_argument("folder", type=Path)
    given.add_argument("--bench", type=Path, default=DEMO / "bench")
    given.add_argument("--mmq", type=Path, default=MMQ)
    given.add_argument("--types", default="f16,q8_0,q4_0")
    given.add_argument("--no-reference", action="store_true")
    given.add_argument("--wrong", action="store_true", help="list the wrong answers at f16")
    options = given.parse_args()
    samples = {domain: rows(options.bench, domain) for domain in DOMAINS}
    with tempfile.TemporaryDirectory() as temporary:
        work, first = Path(temporary), None
        for kind in options.types.split(","):
            vision = "f16" if kind == "f16" else "q8_0"
            output_of([options.mmq, "convert", options.folder, "--output", work / kind, "--type", kind,
                       "--vision-type", vision])
            study = work / f"{kind}.sqlite"
            output_of([options.mmq, "generate", "--model", work / kind, "--study", study, "--bench", options.bench,
                       "--masks", "none", "--greedy", "--max-tokens", MOST_TOKENS])
            answered = answers(study)
            found = score(options.mmq, study, answered, samples)
            mean = sum(found.values()) / len(found)
            shown = "  ".join(f"{domain} {found[domain]:5.1f}" for domain in DOMAINS)
            print(f"{kind:<5} {shown}  mean {mean:5.1f}", flush=True)
            first = first or answered
        if options.wrong:
            for domain in ("ad", "med", "doc"):
                for position, question, text, _ in first[domain]:
                    references = samples[domain][position][2]
                    if not any(plain(text) == plain(r) for r in references):
                        print(f"    {domain} {question} {text!r}, right: {references}")
        if not options.no_reference:
            for domain, (same, count, differing) in same_tokens(options.folder, first, samples).items():
                print(f"{domain:<4} {same} of {count} answers as in transformers", flush=True)
                for one in differing:
                    print("    differs:", *one)

