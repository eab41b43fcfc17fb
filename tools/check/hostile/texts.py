"""Text that a terminal, a page or a shell would obey, and a bench and a checkpoint that are full of it."""

import csv
import json
import shutil
import struct
from pathlib import Path

from tools.common.families import CHECKPOINTS as USUAL
from tools.common.paths import DEMO, GOLDEN

# Checkpoints with a tokenizer.json, whose pieces can be changed.
CHECKPOINTS = USUAL | {"instructblip": "instructblip/new-f16"}
# An element, an attribute and a script of its own, and the ends of what text may stand in.
MARKUP = ("'\"><img src=x onerror=\"window.obeyed=1\"><mmq-evil></mmq-evil><script>window.obeyed=1</script>"
          "</title></style></script></textarea></svg>]]>-->"
          "<a href=\"javascript:obeyed=1\">&lt;mmq-evil&gt;`${obeyed=1}")
CONTROLS = "\x1b]0;obeyed\x07\x1b[31m\x1bc\x9b31m\x9d0;obeyed\x9c\x7f\b\r\u202emoc\u2066\u200f\u061c\u2028\u2029"
EVIL = f" {MARKUP}{CONTROLS}\n"
# For the questions of a model that takes 64 tokens, and the domains whose questions it then still takes.
SHORT, SHORT_DOMAINS = {"instructblip": "<mmq-evil>\x1b[m\x9b\u202e"}, {"instructblip": "rs,com,doc"}
# What a name of a file may have: no slash.
EVIL_NAME = ("'\"><img src=x onerror=window.obeyed=1><mmq-evil>$(touch obeyed)"
             "\x1b[31m\x07\x9b31m\u202emoc\u2066\u2028\r\n")
# Members of the benches' files that are text.
TEXTS = {"question", "answer", "answers", "type", "question_type", "answer_type", "multiple_choice_answer", "sensor",
         "original_name", "name", "question_id", "segment_id", "answer_confidence"}
PICTURES = {"image", "images", "Figure_path"}


def evil(value, asked: str, key: str = ""):
    """A document with the text put behind each text of it that is none of structure, and pictures renamed.

    asked: what is put behind questions."""
    if isinstance(value, dict):
        return {name: evil(entry, asked, name) for name, entry in value.items()}
    if isinstance(value, list):
        return [evil(entry, asked, key) for entry in value]
    if isinstance(value, str) and key in TEXTS:
        return value + (asked if key == "question" else EVIL)
    return renamed(value) if isinstance(value, str) and key in PICTURES else value


def renamed(name: str) -> str:
    """The name of a picture with such text in it."""
    path = Path(name)
    return str(path.with_name(path.stem + EVIL_NAME + path.suffix))


def make_bench(folder: Path, asked: str) -> None:
    """The demo's bench, of such text."""
    shutil.copytree(DEMO / "bench", folder, ignore=shutil.ignore_patterns("*.parquet"))
    for file in sorted(folder.rglob("*")):
        if file.suffix == ".jsonl":
            lines = [json.loads(line) for line in file.read_text().splitlines()]
            file.write_text("".join(json.dumps(evil(line, asked)) + "\n" for line in lines))
        elif file.suffix == ".json":
            file.write_text(json.dumps(evil(json.loads(file.read_text()), asked)))
        elif file.suffix == ".csv":
            with file.open(newline="") as lines:
                rows = list(csv.DictReader(lines))
            with file.open("w", newline="") as out:
                writer = csv.DictWriter(out, rows[0].keys())
                writer.writeheader()
                for row in rows:
                    writer.writerow({name: renamed(text) if name in PICTURES else text if name == "Answer_label"
                                     else text + EVIL for name, text in row.items()})
        elif file.suffix in (".png", ".jpg") and file.relative_to(folder).parts[0] in ("ad", "med", "doc"):
            file.rename(file.parent / Path(renamed(file.name)).name)


def make_checkpoint(arch: str, folder: Path) -> None:
    """The tests' checkpoint, with such pieces in its vocabulary and such text in its configuration."""
    shutil.copytree(GOLDEN / CHECKPOINTS[arch] / "checkpoint", folder)

    def config(document: dict) -> None:
        document.update(_name_or_path=EVIL, transformers_version=EVIL, note=EVIL)
        # Questions are long with it, letter by letter.
        document["text_config"]["max_position_embeddings"] = 4096

    change_json(folder / "config.json", config)

    def pieces(document: dict) -> None:
        # Whole pieces, merges with them: what is left are letters and bytes.
        model = document["model"]
        model["vocab"] = {
            piece + EVIL + str(number) if len(piece) > 1 and not piece.startswith("<") else piece: number
            for piece, number in model["vocab"].items()}
        model["merges"] = []

    change_json(folder / "tokenizer.json", pieces)
    # Else its pieces would be those that count.
    (folder / "tokenizer.model").unlink(missing_ok=True)


def change_json(file: Path, change) -> None:
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))


def texts_of(data: bytes) -> list[tuple[int, int]]:
    """Where the texts of a GGUF's header lie that are long enough to hold some of ours: place and length."""
    found, place = [], 24
    while place < min(len(data), 200_000):
        length = struct.unpack("<Q", data[place:place + 8])[0] if place + 8 <= len(data) else 0
        if 4 <= length < 400 and data[place + 8:place + 8 + length].isascii():
            found.append((place + 8, length))
            place += 8 + length
        else:
            place += 1
    return found
