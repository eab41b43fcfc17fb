"""Files of up to a megabyte that are made to take as long, or as much memory, as they can: what each costs.

None may take more than 2 s of CPU time or 2 GB before it is refused or read (release build). Every case is one
command; what the model itself takes is in it, and what takes more than a minute is ended. Prints a
table; ends with 1 if a case is over, or ended by a signal.

    python3 tools/check worst [CASE ...] [--mmq PATH]
"""

import contextlib
import json
import os
import random
import shutil
import sqlite3
import struct
import subprocess
import tempfile
import threading
import zlib
from pathlib import Path

from tools.common.commands import output_of, parser
from tools.common.paths import DEMO, GOLDEN, MMQ

SECONDS, MEGABYTES, LARGEST = 2.0, 2048, 1_000_000
# Seconds, after which a command is ended.
PATIENCE = 60

Files = dict[str, bytes]


# --- pictures --------------------------------------------------------------------------------------------------------

def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, depth: int, colour: int, data: list[bytes], interlaced: int = 0,
        before: bytes = b"") -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))
    return b"\x89PNG\r\n\x1a\n" + head + before + b"".join(chunk(b"IDAT", part) for part in data) + chunk(b"IEND", b"")


def zeros(count: int, row: int, filter_type: int) -> bytes:
    """Deflated rows of zeros, each behind its filter."""
    packer = zlib.compressobj(9)
    line = bytes([filter_type]) + bytes(row)
    out = []
    for _ in range(count):
        out.append(packer.compress(line))
    return b"".join(out) + packer.flush()


def jpeg(side: int, components: int, scans: int) -> bytes:
    """A progressive picture of nothing: a bit for every block's DC, then runs of 16,384 blocks a symbol."""
    def segment(kind: int, body: bytes) -> bytes:
        return bytes([0xFF, kind]) + struct.pack(">H", len(body) + 2) + body

    def one_code(table: int, symbol: int) -> bytes:
        return segment(0xC4, bytes([table, 1]) + bytes(15) + bytes([symbol]))

    blocks = ((side + 7) // 8) ** 2
    names = range(1, components + 1)
    out = b"\xff\xd8" + segment(0xDB, b"\0" + b"\1" * 64) + one_code(0x00, 0) + one_code(0x10, 0xE0)
    out += segment(0xC2, struct.pack(">BHHB", 8, side, side, components) + b"".join(bytes([i, 0x11, 0]) for i in names))
    out += segment(0xDA, bytes([components]) + b"".join(bytes([i, 0]) for i in names) + bytes(3))
    out += bytes((blocks * components + 7) // 8)
    for scan in range(scans - 1):
        name, band = scan % components + 1, scan // components % 63 + 1
        out += segment(0xDA, bytes([1, name, 0, band, band, 0])) + bytes((blocks // 16384 + 1) * 15 // 8 + 1)
    return out + b"\xff\xd9"


def pictures() -> dict[str, bytes]:
    small = zlib.compress(bytes(4 * 13))
    side = 13377  # the most pixels that are read of a JPEG
    cases = {
        "png: tiny text chunks": png(4, 4, 8, 2, [small], before=chunk(b"tEXt", b"a\0b") * 60_000),
        "png: a profile of zeros": png(4, 4, 8, 2, [small], before=chunk(b"iCCP", b"a\0\0" + zeros(900, 1_000_000, 0))),
        "png: palettes": png(4, 4, 8, 3, [zlib.compress(bytes(4 * 5))], before=chunk(b"PLTE", bytes(3)) * 60_000),
        "png: empty data chunks": png(4, 4, 8, 2, [b""] * 80_000 + [small]),
        "png: data a byte a chunk": png(4, 4, 8, 2, [bytes([byte]) for byte in small]),
    }
    for scans in (1, 16):
        for components in (1, 3):
            cases[f"jpeg: {scans} scans, {components} components"] = jpeg(side, components, scans)
    cases["jpeg: 3000 scans"] = jpeg(200, 1, 3000)[:LARGEST]
    width = 8192
    for kind, height, depth, colour, row in [
            ("rgb", width, 8, 2, 3 * width), ("rgba, 16 bits", width // 2 - 1, 16, 6, 8 * width),
            ("gray, 1 bit", width, 1, 0, width // 8)]:
        for filter_type, word in [(0, "no filter"), (4, "Paeth")]:
            data = zeros(height, row, filter_type)
            cases[f"png: {height} rows of {kind}, {word}"] = png(width, height, depth, colour, [data])
        # The passes have more rows, and filters' numbers, than the picture.
        data = zeros(height * 2, row, 4)
        cases[f"png: {height} rows of {kind}, interlaced"] = png(width, height, depth, colour, [data], 1)
    return cases


# --- tokenizers ------------------------------------------------------------------------------------------------------

def golden_json(name: str) -> dict:
    return json.loads((GOLDEN / name).read_text())


def compact(value) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def words(count: int, length: int, alphabet: str = "abcdefghijklmnopqrstuvwxyz") -> list[str]:
    source = random.Random(count)
    return ["".join(source.choices(alphabet, k=length)) for _ in range(count)]


def tokenizers() -> dict[str, bytes]:
    good = golden_json("text/folders/llava-legacy/tokenizer.json")

    def changed(change) -> bytes:
        tokenizer = json.loads(json.dumps(good))
        change(tokenizer)
        return compact(tokenizer)[:LARGEST]

    def pieces(tokenizer, count, length):
        first = max(tokenizer["model"]["vocab"].values()) + 1
        for i, word in enumerate(dict.fromkeys(words(count, length))):
            tokenizer["model"]["vocab"][word] = first + i

    letters = [piece for piece in good["model"]["vocab"] if len(piece) == 1 and piece.isascii() and piece.isalpha()]
    half = LARGEST // 2
    return {
        "tokenizer.json: one long piece": changed(lambda t: t["model"]["vocab"].update({"q" * 940_000: 640})),
        "tokenizer.json: pieces of 512": changed(lambda t: pieces(t, 1800, 512)),
        "tokenizer.json: short pieces": changed(lambda t: pieces(t, 60_000, 5)),
        "tokenizer.json: merges": changed(lambda t: t["model"].update(merges=t["model"]["merges"][:1] * 100_000)),
        "tokenizer.json: added tokens": changed(lambda t: t["added_tokens"].extend(
            {"id": 1000 + i, "content": word} for i, word in enumerate(words(25_000, 4)))),
        "tokenizer.json: long added tokens": changed(
            lambda t: t["added_tokens"].extend({"id": 1000 + i, "content": letters[0] * (half - i)} for i in range(1))),
        "tokenizer.json: normalizers that double": changed(
            lambda t: t["normalizer"].update(normalizers=[
                {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}] * 40)),
        "tokenizer.json: many normalizers": changed(
            lambda t: t["normalizer"].update(normalizers=[
                {"type": "Replace", "pattern": {"String": "a"}, "content": "a"}] * 14_000)),
        "tokenizer.json: lists in lists": b'{"a":' + b"[" * (LARGEST - 10),
        "tokenizer.json: empty objects": b'{"a":[' + b"{}," * 330_000 + b"1]}",
        "tokenizer.json: keys": compact({word: 1 for word in words(80_000, 6)})[:LARGEST],
        "tokenizer.json: digits": b'{"a":' + b"9" * (LARGEST - 10) + b"}",
        "tokenizer.json: escapes": b'{"a":"' + b"\\ud83d\\ude00" * 80_000 + b'"}',
    }


def templates() -> dict[str, bytes]:
    text = LARGEST - 20
    return {
        "chat_template.jinja: empty tags": b"{{}}" * (text // 4),
        "chat_template.jinja: tags that take space": (b"{%--%}" + b" " * 200) * (text // 206),
        "chat_template.jinja: tags without an end": b"{{'" * (text // 3),
        "chat_template.jinja: one expression": b"{{" + b"'a'+" * (text // 4) + b"}}",
        "chat_template.jinja: space": b" " * (text // 2) + b"{{ a -}}" + b"\n" * (text // 2),
        "chat_template.jinja: names": b"{{ " + b"message['text']" * (text // 15) + b"}}",
    }


def special_maps() -> dict[str, bytes]:
    return {
        "special_tokens_map.json: names": compact({word + "_token": "a" for word in words(40_000, 8)})[:LARGEST],
    }


def sentencepiece() -> dict[str, bytes]:
    def field(number: int, body: bytes) -> bytes:
        length, out = len(body), b""
        while length > 127:
            out, length = out + bytes([length & 127 | 128]), length >> 7
        return bytes([number << 3 | 2]) + out + bytes([length]) + body

    def pieces(count: int, length: int) -> bytes:
        return b"".join(field(1, field(1, word.encode())) for word in words(count, length))

    good = (GOLDEN / "text/folders/llava-model/tokenizer.model").read_bytes()
    return {
        "tokenizer.model: one long piece": good + field(1, field(1, b"q" * 980_000)),
        "tokenizer.model: pieces of 512": good + pieces(1850, 512),
        "tokenizer.model: short pieces": good + pieces(90_000, 5),
        "tokenizer.model: empty fields": good + field(15, b"") * 450_000,
    }


# --- weights ---------------------------------------------------------------------------------------------------------

def safetensors() -> dict[str, bytes]:
    def file(header: bytes) -> bytes:
        return struct.pack("<Q", len(header)) + header

    # Matrices: `inspect` tells the bits of their weights by module, each name one of its own.
    empty = {"dtype": "F32", "shape": [0, 1], "data_offsets": [0, 0]}
    ones = {"dtype": "F32", "shape": [1] * 490_000, "data_offsets": [0, 4]}
    return {
        "safetensors: tensors": file(compact({word: empty for word in words(16_000, 4)})),
        "safetensors: a shape of ones": file(compact({"a": ones})) + bytes(4),
        "safetensors: metadata": file(compact({"__metadata__": {word: "" for word in words(70_000, 5)}})),
        "safetensors: lists in lists": file(b'{"a":' + b"[" * 900_000),
    }


def gguf(kind: str | None = None) -> dict[str, bytes]:
    """Files that say that they are of a kind, or of none."""
    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    def file(keys: list[bytes], tensors: list[bytes] = ()) -> bytes:
        if kind:
            keys = [text("general.type") + struct.pack("<I", 8) + text(kind), *keys]
        return b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)) + b"".join(keys) + b"".join(tensors)

    def array(kind: int, count: int, body: bytes) -> bytes:
        return struct.pack("<IIQ", 9, kind, count) + body

    nested = array(9, 1, b"")
    return {
        "gguf: keys": file([text(word) + struct.pack("<IB", 0, 1) for word in dict.fromkeys(words(55_000, 5))]),
        "gguf: bytes": file([text("a") + array(0, 990_000, bytes(990_000))]),
        "gguf: empty texts": file([text("a") + array(8, 120_000, bytes(8 * 120_000))]),
        "gguf: empty lists": file([text("a") + array(9, 80_000, struct.pack("<IQ", 0, 0) * 80_000)]),
        "gguf: lists in lists": file([text("a") + nested[:4] + nested[4:] * 80_000]),
        "gguf: tensors": file([], [
            text(word) + struct.pack("<IQQIQ", 2, 1, 0, 0, 0) for word in dict.fromkeys(words(21_000, 5))]),
    }


# --- studies and benches ---------------------------------------------------------------------------------------------

def answers() -> dict[str, tuple[str, bytes]]:
    def line(domain: str, truth, answer: str, **more) -> tuple[str, bytes]:
        return domain, compact({"ground_truth": truth, "answer": answer} | more) + b"\n"

    def lines(domain: str, count: int, truth, answer: str, **more) -> tuple[str, bytes]:
        return domain, line(domain, truth, answer, **more)[1] * count

    alike = "".join(words(1, 8_000))
    return {
        "answers: two long texts": line("doc", ["ab" * 240_000], "ba" * 240_000),
        "answers: the longest references": line("doc", [text[:8_000] for text in words(120, 8_000)], alike),
        "answers: the longest answers": lines("doc", 60, [alike[::-1]], alike),
        "answers: annotators": line("com", [{"answer": "a"}] * 60_000, "a"),
        "answers: most annotators": lines("com", 60, [{"answer": word} for word in words(999, 2)], "a"),
        "answers: long choices": lines("med", 200, "a" * 1000, "b", choices=[word for word in words(4, 1000, "abc")]),
        "answers: longer choices": line("med", "A", "b", choices=[word for word in words(4, 240_000)]),
        "answers: points": line("com", [{"answer": "a"}, {"answer": ". " * 240_000}], ".a" * 200_000),
        "answers: sigmas": line("rs", "a", "Σ'" * 240_000),
        "answers: lines": lines("rs", 25_000, "a", "b"),
    }


def csv() -> dict[str, bytes]:
    return {
        "csv: columns": (",".join(f"c{i}" for i in range(40_000)) + "\n").encode() + b"1\n" * 300_000,
        "csv: columns and rows": (",".join(f"c{i}" for i in range(100)) + "\n").encode() + b"1\n" * 490_000,
        "csv: quotes": b"a,b\n" + b'"' * 900_000 + b"\n",
        "csv: empty lines": b"a,b\n" + b" \n" * 490_000,
    }


def shared_answers() -> dict[str, dict[str, bytes]]:
    """A bench whose questions all name one long answer."""
    questions = [{"id": 0, "img_id": i, "active": True, "answers_ids": [0], "question": ""} for i in range(8_000)]
    return {
        f"rsvqa: an answer of {length} bytes": {
            "USGS_split_train_questions.json": compact({"questions": questions}),
            "USGS_split_train_answers.json": compact({"answers": [{"answer": "a" * (length - 13)}]})}
        for length in (450_000, 16_384)}


def studies(mmq: Path, folder: Path) -> dict[str, Path]:
    """The golden study with other numbers in it."""
    whole = folder / "whole.sqlite"
    shutil.copy(GOLDEN / "study/whole.sqlite", whole)
    # Brings its tables up to date.
    output_of([mmq, "identify", "--study", whole])
    out = {}
    for name, statement in {
            "study: neurons": "UPDATE module SET layers = 1, neurons = 1 << 28",
            "study: layers": "UPDATE module SET layers = 1 << 28, neurons = 1",
            "study: modules": "WITH RECURSIVE n(i) AS (SELECT 100 UNION SELECT i + 1 FROM n WHERE i < 20000) "
                              "INSERT INTO module SELECT i, 'm' || i, 1, 1 FROM n",
            "study: missing pictures": "UPDATE pass SET cursor = 200000, skipped = 140000, missing = (WITH RECURSIVE "
                                       "n(i) AS (SELECT 0 UNION SELECT i + 1 FROM n WHERE i < 139999) "
                                       "SELECT json_group_array(i) FROM n) WHERE id = 1",
            "study: a mask of lists": "WITH RECURSIVE n(i) AS (SELECT 0 UNION SELECT i + 1 FROM n WHERE i < 99999) "
                                      "UPDATE answer_set SET mask = (SELECT '{\"lang\":[' || group_concat('[]') "
                                      "|| ']}' FROM n) WHERE id = 1"}.items():
        out[name] = folder / (name.replace(": ", "-") + ".sqlite")
        shutil.copy(whole, out[name])
        with contextlib.closing(sqlite3.connect(out[name])) as database:
            database.execute(statement)
            database.commit()
    return out


def masks() -> dict[str, bytes]:
    return {
        "mask: numbers": b'{"lang":[[' + b"1," * 490_000 + b"1],[]]}",
        "mask: layers": b'{"lang":[' + b"[]," * 330_000 + b"[]]}",
        "mask: modules": compact({word: [[]] for word in words(60_000, 5)}),
    }


# --- what a run goes on with, and requests ----------------------------------------------------------------------------

def progress(begun: dict) -> dict[str, bytes]:
    """Where a folder of activation values says that it stands."""
    def changed(**more) -> bytes:
        return compact(begun | more)[:LARGEST + 1000]

    ascending = list(range(140_000))
    return {
        "progress.json: missing pictures": changed(position=200_000, skipped=140_000, missing=ascending),
        "progress.json: the same one": changed(position=200_000, missing=[7] * 400_000),
        "progress.json: modules": changed(modules={word: {"rows": 0, "index_bytes": 0} for word in words(20_000, 5)}),
        "progress.json: rows": changed(
            modules={name: {"rows": 1 << 42, "index_bytes": 0} for name in begun["modules"]}),
    }


def manifests(begun: dict) -> dict[str, bytes]:
    return {
        "activations.json: keys": compact(begun | {word: 0 for word in words(80_000, 6)})[:LARGEST],
        "activations.json: a long model": compact(begun | {"model": "a" * 900_000}),
    }


def requests(picture: Path) -> dict[str, bytes]:
    """Lines for a session."""
    def line(**more) -> bytes:
        return compact({"op": "run", "id": 1, "image": str(picture), "prompt": "Why?", "max_tokens": 1} | more) + b"\n"

    return {
        "session: sites": line(sites=["mlp"] * 160_000),
        "session: a mask's numbers": line(mask={"lang": [[1] * 480_000, []]}),
        "session: keys": line(**{word: 0 for word in words(80_000, 6)})[:LARGEST],
        "session: a long name": line(id="a" * 900_000),
        "session: a long prompt": line(prompt="\u4e2d" * 300_000),
        "session: lists in lists": b"[" * 990_000 + b"\n",
        "session: empty lines": b"\n" * 990_000,
        "session: bad lines": b"{\n" * 4_000,
        "session: requests that wait": line() + b'{"op":"info"}\n' * 5_000,
    }


# --- running ---------------------------------------------------------------------------------------------------------

def run(command: list[str], lines: Path | None) -> tuple[int, float, float, str]:
    """Exit code, seconds of CPU time, megabytes, and the last line of stderr, or of what a session says.

    lines: what stdin holds.
    """
    with (lines or Path(os.devnull)).open("rb") as given:
        process = subprocess.Popen(
            command, stdin=given, stdout=subprocess.PIPE if lines else subprocess.DEVNULL,
            stderr=subprocess.STDOUT if lines else subprocess.PIPE)
    timer = threading.Timer(PATIENCE, process.kill)
    timer.start()
    try:
        errors = (process.stdout if lines else process.stderr).read()
        _, status, usage = os.wait4(process.pid, 0)
    finally:
        timer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    last = errors.decode(errors="replace").strip().split("\n")[-1]
    return process.returncode, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, last


class Cases:
    """Commands by the names of their cases, over files in a folder."""

    def __init__(self, mmq: Path, folder: Path):
        self.mmq, self.folder, self.commands = mmq, folder, {}
        # What stdin holds of cases that have any.
        self.lines: dict[str, Path] = {}
        self.model = folder / "model"
        output_of([mmq, "convert", DEMO / "llava-next", "--output", self.model])
        for name, data in pictures().items():
            picture = self.file(name, data)
            self.add(name, data, "ask", "--model", self.model, "--image", picture, "--max-tokens", "1", "Why?")
        for file, cases in [("tokenizer.json", tokenizers()), ("special_tokens_map.json", special_maps()),
                            ("tokenizer.model", sentencepiece()), ("chat_template.jinja", templates())]:
            for name, data in cases.items():
                self.checkpoint(name, file, data)
        for suffix, cases in [("safetensors", safetensors()), ("gguf", gguf())]:
            for name, data in cases.items():
                self.add(name, data, "inspect", self.file(name, data, "." + suffix))
        for name, (domain, data) in answers().items():
            self.add(name, data, "evaluate", "--answers", self.file(name, data), "--domain", domain)
        for name, data in csv().items():
            bench = folder / name.replace(" ", "-")
            (bench / "med").mkdir(parents=True)
            (bench / "med/train.csv").write_bytes(data)
            self.add(name, data, "bench-check", bench, "--domain", "med")
        for name, files in shared_answers().items():
            bench = folder / name.replace(" ", "-")
            (bench / "rs/Data").mkdir(parents=True)
            for file, data in files.items():
                (bench / "rs" / file).write_bytes(data)
            self.add(name, b"".join(files.values()), "bench-check", bench, "--domain", "rs")
        for name, study in studies(mmq, folder).items():
            data = study.read_bytes()
            self.add(name + ", identify", data, "identify", "--study", study)
            self.add(name + ", report", data, "report", "--study", study, "--output", str(study) + ".html")
        for name, data in masks().items():
            self.add(name, data, "logit-lens", "--model", self.model, "--image", GOLDEN / "llava-next/images/small.png",
                     "--prompt", "Why?", "--mask", self.file(name, data))

        self.activations()
        for name, data in gguf("imatrix").items():
            self.add(name + ", importance", data, "convert", GOLDEN / "llava-next/hub-f16/checkpoint", "--importance",
                     self.file(name + ", importance", data, ".gguf"), "--output", folder / "weighed", "--type", "q4_0")
        for name, data in requests(GOLDEN / "llava-next/images/small.png").items():
            self.lines[name] = self.file(name, data)
            self.add(name, data, "session", "--model", self.model)

    def activations(self) -> None:
        """A folder that a run has begun, and says other things of itself."""
        begun = self.folder / "begun"
        words = [self.mmq, "activations", "--model", self.model, "--bench", DEMO / "bench", "--domain", "rs", "--sites",
                 "mlp", "--samples", "2", "--output"]
        output_of([*words, begun])
        for place, make in [("activations.json", manifests), ("rs/progress.json", progress)]:
            for name, data in make(json.loads((begun / place).read_text())).items():
                copy = self.folder / name.replace(" ", "-").replace(":", "")
                shutil.copytree(begun, copy)
                (copy / place).write_bytes(data)
                self.add(name, data, *words[1:], copy)

    def file(self, name: str, data: bytes, suffix: str = "") -> Path:
        path = self.folder / (name.replace(" ", "-").replace("/", "-") + suffix)
        path.write_bytes(data)
        return path

    def add(self, name: str, data: bytes, *words) -> None:
        if len(data) > LARGEST + 100_000:
            raise SystemExit(f"{name}: {len(data)} bytes is more than a megabyte")
        self.commands[name] = [str(self.mmq), *map(str, words)]

    def checkpoint(self, name: str, file: str, data: bytes) -> None:
        copy = self.folder / (name.replace(" ", "-").replace("/", "-"))
        shutil.copytree(GOLDEN / "llava-next/hub-f16/checkpoint", copy)
        if file == "tokenizer.model":
            (copy / "tokenizer.json").unlink()
        if file == "chat_template.jinja":
            settings = json.loads((copy / "processor_config.json").read_text())
            settings.pop("chat_template", None)
            (copy / "processor_config.json").write_bytes(compact(settings))
            (copy / "chat_template.json").unlink(missing_ok=True)
        (copy / file).write_bytes(data)
        self.add(name, data, "convert", copy, "--output", str(copy) + "-converted")


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("cases", nargs="*", metavar="CASE", help="how a case's name begins")
    arguments.add_argument("--mmq", type=Path, default=MMQ)
    options = arguments.parse_args()
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        cases = Cases(options.mmq, Path(folder))
        width = max(map(len, cases.commands))
        print(f"{'case':<{width}}  {'s':>6}  {'MB':>6}  exit  says")
        for name, command in cases.commands.items():
            if options.cases and not name.startswith(tuple(options.cases)):
                continue
            code, seconds, megabytes, words = run(command, cases.lines.get(name))
            fine = code >= 0 and seconds <= SECONDS and megabytes <= MEGABYTES
            failures += not fine
            print(f"{name:<{width}}  {seconds:6.2f}  {megabytes:6.0f}  {code:4}  "
                  f"{words.replace(folder, '...')[:150]}{'' if fine else '   OVER'}", flush=True)
    print(f"{failures} over {SECONDS:g} s or {MEGABYTES} MB" if failures else "none over")
    return 1 if failures else 0
