#!/usr/bin/env python3
"""Measures a demo model: accuracy on the val split through mmq at f16, q8_0 and q4_0, and how many of the f16
answers are token by token those of transformers on the same folder.

    venv/bin/python tools/demo/measure.py models/demo/llava-next --bench models/demo/bench
        --mmq .build/release/mmq [--types f16,q8_0,q4_0] [--no-reference] [--keep FOLDER]

Scores are mmq's own (`evaluate --metric official`), but for `ad`, whose judge is a model of its own: there an
answer counts if it equals one of the question's references but for letter case and a final full stop.
"""

import argparse
import csv
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np  # noqa: E402
import pandas  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402

from demo import prompts  # noqa: E402
from demo.scenes import Asked  # noqa: E402
from goldens import instructblip, llava_next  # noqa: E402

DOMAINS = ("ad", "med", "rs", "com", "doc")
MOST_TOKENS = 8


def rows(bench: Path, domain: str) -> list[tuple[list[Path], Asked, list[str]]]:
    """The val questions in the official loaders' order: picture files, question, references. Reads the official
    files, not mmq's prepared ones where there is a choice."""
    if domain == "ad":
        folder = bench / "ad" / "val"
        found = pandas.read_parquet(folder / "val.parquet").sample(frac=1, random_state=42)
        references = found.groupby("question_id")["answer"].apply(list)
        return [([folder / name for name in row.images], Asked("", row.question, row.answer),
                 references[row.question_id]) for row in found.itertuples()]
    if domain == "med":
        with open(bench / "med" / "val.csv", newline="") as file:
            table = list(csv.DictReader(file))
        order = pandas.DataFrame({"row": range(2 * len(table))}).sample(frac=1, random_state=42)["row"]
        return [([bench / "med" / "images" / row["Figure_path"]],
                 Asked("", row["Question"], row["Answer_label"], choices=[row[f"Choice {x}"] for x in "ABCD"]),
                 [row["Answer_label"]]) for row in (table[i % len(table)] for i in order)]
    if domain == "rs":
        files = [json.loads((bench / "rs" / f"USGS_split_val_{name}.json").read_text())[name]
                 for name in ("questions", "answers")]
        answers = {answer["id"]: answer["answer"] for answer in files[1]}
        order = [question for question in files[0] if question["active"]]
        random.Random(4).shuffle(order)
        return [([bench / "rs" / "Data" / f"{q['img_id']}.png"],
                 Asked(q["type"], q["question"], answers[q["answers_ids"][0]]), []) for q in order]
    if domain == "com":
        folder = bench / "vqav2"
        order = json.loads((folder / "v2_OpenEnded_mscoco_val2014_questions.json").read_text())["questions"]
        random.Random(4).shuffle(order)
        return [([folder / "val2014" / f"COCO_val2014_{q['image_id']:012d}.jpg"],
                 Asked("", q["question"], ""), []) for q in order]
    lines = [json.loads(line) for line in (bench / "doc" / "validation.jsonl").read_text().splitlines()]
    order = np.random.default_rng(42).permutation(len(lines))
    return [([bench / "doc" / lines[i]["image"]], Asked("", lines[i]["question"], ""), lines[i]["answers"])
            for i in order]


def run(*command) -> str:
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{result.stderr}")
    return result.stdout


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
    for one in json.loads(run(mmq, "evaluate", "--study", study, "--metric", "official", "--json"))["scores"]:
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bench", type=Path, required=True)
    parser.add_argument("--mmq", type=Path, required=True)
    parser.add_argument("--types", default="f16,q8_0,q4_0")
    parser.add_argument("--no-reference", action="store_true")
    parser.add_argument("--wrong", action="store_true", help="list the wrong answers at f16")
    options = parser.parse_args()
    samples = {domain: rows(options.bench, domain) for domain in DOMAINS}
    with tempfile.TemporaryDirectory() as temporary:
        work, first = Path(temporary), None
        for kind in options.types.split(","):
            vision = "f16" if kind == "f16" else "q8_0"
            run(options.mmq, "convert", options.folder, "--output", work / kind, "--type", kind,
                "--vision-type", vision)
            study = work / f"{kind}.sqlite"
            run(options.mmq, "generate", "--model", work / kind, "--study", study, "--bench", options.bench,
                "--masks", "none", "--greedy", "--max-tokens", str(MOST_TOKENS))
            given = answers(study)
            found = score(options.mmq, study, given, samples)
            mean = sum(found.values()) / len(found)
            print(f"{kind:<5} " + "  ".join(f"{d} {found[d]:5.1f}" for d in DOMAINS) + f"  mean {mean:5.1f}", flush=True)
            first = first or given
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


if __name__ == "__main__":
    main()
