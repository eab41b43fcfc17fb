"""Tests/Golden/study: sample orders, Python's printing, pandas' CSV cells, a tiny bench with the samples that the
official loaders would yield from it, and neuron sets.

Everything is computed by the programs that the Swift code must agree with: pandas, CPython's random module, numpy's
default_rng (which `datasets` shuffles with), CPython's repr. numpy 2.4, pandas 3.1, Python 3.11 (whose Unicode 14
decides what repr escapes).
"""

import csv
import io
import json
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from tools.common import prompts
from tools.common.benches import vqav2_picture
from tools.common.dape import neuron_sets
from tools.common.files import write_compact
from tools.common.orders import datasets_order, pandas_order, python_order

MASK = (1 << 64) - 1


def digest(order):
    """Σ (order[i] + 1) · K^i mod 2^64: depends on every place."""
    values = np.asarray(order, dtype=np.uint64) + np.uint64(1)
    factors = np.full(len(values), 0x9E3779B97F4A7C15, dtype=np.uint64)
    if len(values):
        factors[0] = 1
    with np.errstate(over="ignore"):
        return format(int((values * np.cumprod(factors, dtype=np.uint64)).sum(dtype=np.uint64)), "016x")


def orders():
    lengths = list(range(1, 66)) + [100, 127, 128, 129, 255, 256, 257, 999, 1000, 1001, 4095, 4096, 4097,
                                    10_000, 39_463, 65_535, 65_536, 65_537, 227_000, 443_757, 500_000]
    return {
        "head of 12": [pandas_order(12), python_order(12), datasets_order(12)],
        "digests": [[n, digest(pandas_order(n)), digest(python_order(n)), digest(datasets_order(n))]
                    for n in lengths],
    }


def printing():
    samples = ["", "plain", "it's", 'say "hi"', "it's \"both\"", "back\\slash", "tab\tnew\nline\r", "\x00\x1f\x7f",
               "\x80\x9f\xa0\xad\xff", "é ü ß", "日本語", "\u200b\u2028\u3000", "emoji 😀 👩‍🚀", "\U0001fae8", "\ue000",
               "\U0010ffff", "a\u0301", "\ufeff", "\u0378", "𝒳", " lead and trail ", "'", '"', "\\'"]
    # Every character: one bit of a running hash per escape length.
    value = 0
    for code in range(0x110000):
        if 0xD800 <= code < 0xE000:
            continue
        value = (value * 31 + len(repr(chr(code)))) & MASK
    numbers = [0.0, -0.0, 1.0, 0.1, -2.5, 1e15, 1e16, 123456789012345680.0, 1e-4, 1e-5, 1.5e-7, 1e100, 5e-324,
               1.7976931348623157e308, 100.0, 3.14159, 1 / 3, 1e22, 9007199254740993.0, 0.00012345, 2e-10]
    return {
        "unicode": unicodedata.unidata_version,
        "strings": [[text, repr(text)] for text in samples],
        "every character": format(value, "016x"),
        "numbers": [[struct_hex(number), repr(number)] for number in numbers],
    }


def struct_hex(number):
    return format(int(np.float64(number).view(np.uint64)), "016x")


def csv_cases():
    texts = [
        'a,b,c\n1,2,3\n4,5,6\n',
        'a,b\n1,x\n,y\n3,z\n',
        'a,b\nNone,1.5\nNA,2\nx,nan\n',
        'a,b\n"quoted, comma","line\nbreak"\n"say ""hi""",plain\n',
        'a,b\r\n1,2\r\n\r\n3,4\r\n',
        'a,b\n 1 , 2.5 \n3,x\n',
        'a,b\n\n   \n1,2\n\t\n  3,4',
        'a,b\ntrue,True\nfalse,FALSE\n',
        'a,b\nTrue,1e3\nmaybe,inf\n',
        'a,b,c\n1\n2,3\n4,5,6\n',
        'a,b\nx"y,"z"w\n"a"b"c,d\n',
        '\ufeffa,b\n1,2\n',
        'a,b\n-0,+7\n007,1_000\n',
        'a,b\n9223372036854775807,1\n-9223372036854775808,.5\n',
        'a,b\n,\n,\n',
        'a,b\n"","x"\n"NA"," NA"\n',
        'a,b\nit\'s,"both \'and\' ""these"""\n日本,😀\n',
        'a,b\r1,2\r3,4\r',
        'a,b\n0.1,1e-7\n100,12345678901234567890\n',
        'a,b\n1.0,2\n2.50,3\n',
        'a,b\n12345678901234567890,12345678901234567890\n7,\n',
        'a,b\n12345678901234567890,99999999999999999999999\n-7,x\nNA,NA\n',
        'a,b\n1,99999999999999999999999\n99999999999999999999999,2\n,\n',
    ]
    cases = []
    for text in texts:
        frame = pd.read_csv(io.BytesIO(text.encode()))
        rows = []
        for row in range(len(frame)):
            # A row of numbers alone comes as one type; the bench's rows always hold texts too.
            cells = [frame[name].astype(object).iloc[row] for name in frame.columns]
            rows.append([[str(cell), repr([cell])[1:-1]] for cell in cells])
        cases.append({"text": text, "header": list(frame.columns), "rows": rows})
    return cases


def picture(path, seed, size=(6, 4)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    # Flat colours: the file stays tiny.
    Image.fromarray(np.repeat(pixels[:, :1], size[0], axis=1)).save(path)


def bench(folder):
    """A tiny bench in the prepared layouts; returns what the official loaders yield from it."""
    rng = np.random.default_rng(7)
    expected = {}

    def sample(domain, index, question, answer, pictures, choices=None):
        return {"index": index, "question": question, "prompt": "<image>\n" + prompts.full(domain, question, choices),
                "simple": f"<image>\n{question}", "answer": answer, "pictures": pictures}

    def first_of_each(rows, path_of):
        """The rows with the first question to a picture, by their places, where the picture is there."""
        seen = set()
        for place, row in enumerate(rows):
            if row[0] not in seen and (folder / path_of(row[0])).exists():
                yield place, row
            seen.add(row[0])

    # ad: rows keep repeated pictures; one frame of one row is not there.
    rows = []
    for i in range(9):
        frames = [f"images/seg{i // 2}/{k}.png" for k in range(3)]
        for k, name in enumerate(frames):
            if name != "images/seg3/1.png":
                picture(folder / "ad/train" / name, 10 * (i // 2) + k, (4 + k, 4))
        rows.append({"question_id": f"q{i}", "segment_id": f"seg{i // 2}", "images": frames,
                     "question": f"What should you do? ({i}) “ü”\n", "answer": f"Stop {i}."})
    (folder / "ad/train").mkdir(parents=True, exist_ok=True)
    with open(folder / "ad/train/train.jsonl", "w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=bool(rng.integers(2))) + "\n")
    found = []
    for place, row in enumerate(rows[i] for i in pandas_order(len(rows))):
        names = [name for name in row["images"] if (folder / "ad/train" / name).exists()]
        found.append(sample("ad", place, row["question"], row["answer"], [f"ad/train/{name}" for name in names]))
    expected["ad"] = found

    # med: csv with quoting, missing and odd cells; two questions for some figures; a figure not there.
    choices = [["A:Yes", "B:No", "C:It's", 'D:"quoted"'], [" A: none ", "None", "N/A", "D:x"],
               ["1", "2", "3", "4"], ["α", "line\nbreak", "tab\t", "it's \"both\""]]
    with open(folder / "med-train.tmp", "w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["Figure_path", "Question", "Answer", "Choice A", "Choice B", "Choice C", "Choice D",
                         "Answer_label"])
        for i in range(11):
            name = f"PMC{i // 2}.png"
            if i // 2 != 4:
                picture(folder / ("med/figures" if i % 4 < 2 else "med/images") / name, 100 + i // 2)
            letter = "ABCD"[i % 4] if i != 6 else ""
            writer.writerow([name, f"What is shown, {i}?", f" the answer {i}"] + choices[i % 4] + [letter])
    (folder / "med-train.tmp").rename(folder / "med/train.csv")
    once = pd.read_csv(folder / "med/train.csv")
    both = pd.concat([once, pd.read_csv(folder / "med/train.csv")], axis="index").sample(frac=1, random_state=42)
    found, seen = [], set()
    for index, row in both.iterrows():
        name = row["Figure_path"]
        if name in seen:
            continue
        seen.add(name)
        paths = [path for path in (f"med/figures/{name}", f"med/images/{name}") if (folder / path).exists()]
        if not paths:
            continue
        answer = row["Answer_label"] if row["Answer_label"] in list("ABCD") else row["Answer"]
        options = [row[f"Choice {letter}"] for letter in "ABCD"]
        found.append(sample("med", int(index), str(row["Question"]), answer, paths[:1], options))
    expected["med"] = found

    # rs: inactive questions lack most keys; answers go by place, ids deliberately disagree.
    questions, answers = [], []
    for i in range(23):
        if i % 7 == 3:
            questions.append({"id": i, "active": False})
            continue
        questions.append({"id": i, "type": ["presence", "count", "area", "comp"][i % 4], "img_id": i // 3,
                          "question": f"How many roads are in image {i}?", "answers_ids": [len(answers)],
                          "active": True})
        answers.append({"id": 1000 - i, "question_id": i, "answer": ["yes", "12", "103m2", "no"][i % 4],
                        "active": True})
        if i // 3 != 5:
            picture(folder / f"rs/Data/{i // 3}.png", 200 + i // 3)
    for name, data in (("questions", questions), ("answers", answers)):
        with open(folder / f"rs/USGS_split_train_{name}.json", "w") as out:
            json.dump({name: data}, out, indent=1 if name == "answers" else None)
    active = [q for q in questions if q["active"]]
    rows = [(active[i]["img_id"], active[i]) for i in python_order(len(active))]
    expected["rs"] = [
        sample("rs", place, q["question"], answers[q["answers_ids"][0]], [f"rs/Data/{image}.png"])
        for place, (image, q) in first_of_each(rows, lambda image: f"rs/Data/{image}.png")]

    # com: train with the data set's annotations, val with the dictionary of the official code.
    for split, base in (("train", 300), ("val", 400)):
        questions, annotations = [], []
        for i in range(17):
            image = base + i // 2
            number = base * 1000 + i
            questions.append({"image_id": image, "question": f"What colour is it, {i}? ☂", "question_id": number})
            records = [{"answer": ["red", "blue", "2"][(i + k) % 3], "answer_confidence": ["yes", "maybe", "no"][k % 3],
                        "answer_id": k + 1} for k in range(10)]
            annotations.append({"question_type": "what", "multiple_choice_answer": "red", "answers": records,
                                "image_id": image, "answer_type": "other", "question_id": number})
            if i // 2 != 6:
                # A JPEG's name on PNG bytes: the decoder looks at the bytes, as Pillow does.
                path = vqav2_picture(folder / "vqav2", split, image)
                path.parent.mkdir(parents=True, exist_ok=True)
                picture(folder / "vqav2/tmp.png", image)
                (folder / "vqav2/tmp.png").rename(path)
        annotations.reverse()
        with open(folder / f"vqav2/v2_OpenEnded_mscoco_{split}2014_questions.json", "w") as out:
            json.dump({"info": {"year": 2014}, "task_type": "Open-Ended", "questions": questions}, out)
        if split == "train":
            with open(folder / "vqav2/v2_mscoco_train2014_annotations.json", "w") as out:
                json.dump({"info": {}, "annotations": annotations}, out)
        else:
            with open(folder / "vqav2/v2_mscoco_val2014_ansdict.json", "w") as out:
                json.dump({str(a["question_id"]): a["answers"] for a in annotations}, out)
        by_id = {a["question_id"]: a["answers"] for a in annotations}
        rows = [(questions[i]["image_id"], questions[i]) for i in python_order(len(questions))]

        def path_of(image, split=split):
            return str(vqav2_picture(Path("vqav2"), split, image))

        expected["com" if split == "train" else "com val"] = [
            sample("com", place, q["question"], by_id[q["question_id"]], [path_of(image)])
            for place, (image, q) in first_of_each(rows, path_of)]

    # doc: the data set's second split is called validation; a row without a picture.
    rows = []
    for i in range(13):
        name = f"documents/page{i // 2}.png"
        rows.append({"question_id": i, "question": f"What is the date, {i}?", "answers": [f"May {i}", f"{i} May"],
                     "name": name, "image": None if i // 2 == 2 else f"images/{name}"})
        if rows[-1]["image"] and i // 2 != 3:
            picture(folder / f"doc/images/{name}", 500 + i // 2)
    with open(folder / "doc/validation.jsonl", "w") as out:
        out.write("\n".join(json.dumps(row) for row in rows))
    rows = [(rows[i]["name"], rows[i]) for i in datasets_order(len(rows))]
    expected["doc val"] = [
        sample("doc", place, row["question"], row["answers"], [f"doc/images/{name}"])
        for place, (name, row) in first_of_each(rows, lambda name: f"doc/images/{name}")]
    return expected


def dape_cases():
    cases = []
    for seed, (domains, layers, neurons, scale, rates) in enumerate([
        (5, 4, 200, 40, (0.01, 0.95, 0.95)),
        (5, 1, 101, 3, (0.1, 0.9, 0.8)),
        (2, 3, 50, 1000, (0.05, 0.95, 0.95)),
        (3, 2, 64, 2, (0.5, 0.5, 0.25)),
        (5, 2, 125, 7, (0.02, 0.95, 0.95)),
        (4, 2, 30, 5, (0.9, 0.95, 0.5)),
    ]):
        rng = np.random.default_rng(seed)
        tokens = rng.integers(scale, 2 * scale + 2, domains) if seed % 2 else np.full(domains, scale)
        base = rng.beta(0.4, 2, (1, layers, neurons))
        odd = rng.random((domains, layers, neurons)) < 0.15
        rate = np.clip(base * np.where(odd, 6, 0.5), 0, 1)
        counts = np.minimum(rng.binomial(tokens[:, None, None], rate), tokens[:, None, None])
        if seed == 4:
            counts[3:] = 0  # the last domains find nothing: their lists stay, empty
        filtered, bar, selected, sets = neuron_sets(counts, tokens, *rates)
        cases.append({"layers": layers, "neurons": neurons, "tokens": tokens.tolist(),
                      "counts": counts.reshape(domains, -1).tolist(), "rates": rates,
                      "filter_threshold": struct_hex(filtered), "activation_threshold": struct_hex(bar),
                      "selected": selected, "sets": sets})
    return cases


def make(golden: Path) -> None:
    folder = golden / "study"
    (folder / "bench").mkdir(parents=True, exist_ok=True)
    write_compact(folder / "orders.json", orders())
    write_compact(folder / "printing.json", printing())
    write_compact(folder / "csv.json", csv_cases())
    write_compact(folder / "bench.json", bench(folder / "bench"))
    write_compact(folder / "dape.json", dape_cases())
