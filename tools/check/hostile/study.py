"""A study of such text from the first command to the report, and files of it that are refused."""

import json
import shutil
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path

from tools.check.hostile.terminal import Terminal
from tools.check.hostile.texts import (
    CHECKPOINTS,
    EVIL,
    EVIL_NAME,
    MARKUP,
    SHORT,
    SHORT_DOMAINS,
    change_json,
    make_bench,
    make_checkpoint,
    texts_of,
)
from tools.check.writers import PROMPT
from tools.common.paths import GOLDEN
from tools.common.trial import Failure


class HostileStudy:
    """A study of such text from the first command to the last."""

    def __init__(self, terminal: Terminal, arch: str, work: Path):
        self.terminal, self.arch = terminal, arch
        self.work = work / f"work{EVIL_NAME}"
        self.work.mkdir()
        self.checkpoint, self.bench = self.work / f"checkpoint{EVIL_NAME}", self.work / f"bench{EVIL_NAME}"
        self.model, self.study = self.work / f"model{EVIL_NAME}", self.work / f"study{EVIL_NAME}.sqlite"
        self.picture = self.work / f"picture{EVIL_NAME}.png"
        self.exported = self.work / f"exported{EVIL_NAME}"
        self.page, self.lens = self.work / f"report{EVIL_NAME}.html", self.work / f"lens{EVIL_NAME}.json"
        self.compared = self.work / f"compared{EVIL_NAME}.json"
        self.fidelity = self.work / f"fidelity{EVIL_NAME}.json"
        make_checkpoint(arch, self.checkpoint)
        self.asked = SHORT.get(arch, EVIL)
        self.prompt = f"{'<image>' if 'llava' in arch else ''}\nWhat?{self.asked}".lstrip()
        self.domains = ["--domain", SHORT_DOMAINS[arch]] if arch in SHORT_DOMAINS else []
        make_bench(self.bench, self.asked)
        shutil.copy(GOLDEN / arch / "images/small.png", self.picture)

    def make(self) -> None:
        """Every command over it, each of which ends well."""
        run, model = self.terminal.run, ["--model", self.model]
        bench, study = ["--bench", self.bench, *self.domains], ["--study", self.study]
        prompt = self.prompt
        other, q4 = self.work / f"other{EVIL_NAME}.sqlite", self.work / f"q4{EVIL_NAME}"
        importance, values = self.work / f"importance{EVIL_NAME}", self.work / f"values{EVIL_NAME}"
        trace, mask = self.work / f"trace{EVIL_NAME}.safetensors", GOLDEN / CHECKPOINTS[self.arch] / "mask.json"
        run("inspect", self.checkpoint)
        run("convert", self.checkpoint, "--output", self.model, "--type", "q8_0", "--force")
        run("calibrate", *model, *bench, "--samples", 1, "--output", importance)
        run("convert", self.checkpoint, "--output", q4, "--type", "q4_0", "--importance", importance, "--force")
        run("inspect", self.model)
        run("inspect", self.model, "--json")
        for file in sorted(self.model.glob("*.gguf")):
            run("inspect", file)
        run("inspect", importance)
        run("bench-check", self.bench)
        for more in ([], ["--json"], ["--mask", mask]):
            run("ask", *model, "--image", self.picture, "--max-tokens", 24, *more, f"What?{self.asked}")
        run("trace", *model, "--image", self.picture, "--prompt", prompt, "--output", trace, "--mask", mask)
        run("inspect", trace)
        run("activation", *model, *bench, *study, "--samples", 6, "--plan")
        run("activation", *model, *bench, *study, "--samples", 6)
        run("activation", "--model", q4, *bench, "--study", other, "--samples", 6, on_terminal=False)
        run("identify", "--model", q4, "--study", other, "--top-rate", ".2", on_terminal=False)
        run("activations", *model, *bench, "--samples", 2, "--sites", "mlp", "--output", values)
        run("identify", *model, *study, "--top-rate", ".2", "--filter-rate", ".5", "--activation-bar", ".5")
        run("stability", *study, "--draws", 20)
        run("neurons", *study, *model)
        run("neurons", *study, *model, "--json")
        run("neurons", *study, *model, "--bench", self.bench, "--module", "lang", "--layer", 1, "--neuron", 3)
        run("generate", *model, *bench, *study, "--samples", 4, "--max-tokens", 12, "--masks", "none,lang")
        run("logit-lens", *model, *bench, *study, "--samples", 2)
        run("logit-lens", *model, "--image", self.picture, "--prompt", prompt)
        run("logit-lens", *model, "--image", self.picture, "--prompt", prompt, "--output", self.lens)
        run("deviation", *model, *bench, *study, "--samples", 2)
        run("evaluate", *study, "--judge", "exact", "--draws", 100, "--types")
        run("evaluate", *study, "--judge", "exact", "--draws", 100, "--json")
        run("status", self.study)
        run("export", *study, "--output", self.exported)
        run("import", "--study", self.work / f"imported{EVIL_NAME}.sqlite", self.exported)
        run("compare", "--study", self.study, "--study", other, "--judge", "exact")
        run("compare", *model, "--model", q4, *bench, "--samples", 2)
        self.compared.write_text(run("compare", *model, "--model", q4, *bench, "--samples", 2, "--json"))
        words = ["fidelity", "--reference", self.model, "--model", q4, *bench, "--samples", 2, "--max-tokens", 4,
                 "--judge", "exact"]
        run(*words)
        self.fidelity.write_text(run(*words, "--json"))
        parts = [self.work / f"part{number}{EVIL_NAME}" for number in (1, 2)]
        for number, part in enumerate(parts, 1):
            run("activation", *model, *bench, "--study", part, "--samples", 6, "--shard", f"{number}/2")
        run("status", *parts)
        run("merge", *parts, "--output", self.work / f"merged{EVIL_NAME}")
        answers = next(self.exported.rglob("*rs*/none.jsonl"), None) or next(self.exported.rglob("none.jsonl"))
        run("evaluate", "--answers", answers, "--domain", answers.parent.name, "--draws", 100, "--types",
            codes=(0, 1, 2))
        asked = {"op": "run", "id": EVIL_NAME, "image": str(self.picture), "prompt": f"What?{self.asked}",
                 "max_tokens": 24, "stream": True, "lens": {}}
        requests = [asked, asked | {"image": EVIL}, {"op": "info"}, {"op": EVIL}, {EVIL: EVIL}, EVIL]
        said = run("session", *model, given="".join(json.dumps(request) + "\n" for request in requests))
        if not any(json.loads(line)["event"] == "done" for line in said.splitlines()):
            raise Failure(f"session: nothing was answered: {said[:600]!r}")
        run("report", *study, "--judge", "exact", "--draws", 100, "--json", "--output", self.page, "--title", EVIL,
            "--bench", self.bench)
        run(*self.report(other))

    def report(self, other: Path) -> list:
        """The report with everything that it can hold."""
        return ["report", "--study", self.study, "--model", self.model, "--output", self.page, "--judge", "exact",
                "--draws", 100, "--bench", self.bench, "--title", f"title{EVIL}", "--compare", other,
                "--compare-models", self.compared, "--fidelity", self.fidelity, "--lens", self.lens,
                "--image", self.picture, "--prompt", self.prompt]

    def refused(self) -> None:
        """Files that cannot be read, by commands that name them and what is in them."""
        run, gone = self.terminal.run, self.work / f"gone{EVIL_NAME}"
        study, model, bench = ["--study", self.study], ["--model", self.model], ["--bench", self.bench]
        image, prompt = ["--image", self.picture], ["--prompt", PROMPT]
        for words in (
                ["inspect", gone], ["convert", gone, "--output", self.work / "x"], ["status", gone],
                ["bench-check", gone], ["ask", *model, "--image", gone, EVIL], ["ask", "--model", gone, *image, EVIL],
                ["activation", *model, "--bench", gone, "--study", self.work / "new"],
                ["identify", *model, "--study", gone],
                ["evaluate", "--answers", gone, "--domain", "rs"], ["evaluate", "--study", gone],
                ["evaluate", *study, "--judge", "exact", "--baseline", EVIL],
                ["evaluate", *study, "--judge", "exact", "--set", EVIL],
                ["generate", *model, *bench, *study, "--masks", EVIL], ["report", *study, "--output", gone / "x"],
                ["report", *study, "--output", self.page, "--lens", gone, "--judge", "exact"],
                ["report", *study, "--output", self.page, "--lens", self.picture, "--judge", "exact"],
                ["trace", *model, *image, *prompt, "--output", self.picture],
                ["trace", *model, *image, *prompt, "--output", gone, "--sites", EVIL],
                ["trace", *model, *image, *prompt, "--output", gone, "--mask", gone],
                ["merge", gone, "--output", self.work / "x"], ["import", "--study", self.work / "new", gone],
                ["neurons", *study, "--module", EVIL], ["convert", self.checkpoint, "--output", gone, "--keep", EVIL],
                ["activation", *model, *bench, *study, "--domain", EVIL], ["inspect", self.picture], [EVIL],
                ["inspect", "--" + EVIL],
                ["ask", *model, "--image", b"\x9b31m\xff.png".decode(errors="surrogateescape"), "What?"]):
            run(*words, codes=(1, 2))
        # Not read where no driving question was answered.
        run("evaluate", *study, "--judge", gone, codes=(0, 1, 2))
        self.documents()
        self.tensors()

    def documents(self) -> None:
        """JSON, CSV and lines with such keys, values and broken places."""
        run, work = self.terminal.run, self.work
        texts = {
            "mask": [{EVIL: [[1]]}, {"lang": EVIL}, {"lang": [[EVIL]]}, EVIL, {"lang": {EVIL: EVIL}},
                     f'{{"lang": [], "lang": []}} {EVIL}', f'{{"a{MARKUP}', "{" + EVIL],
            "answers": [{EVIL: EVIL}, {"index": EVIL}, {"index": 0, "answer": EVIL, EVIL: EVIL}, EVIL, f"{{{EVIL}"],
            "lens": [{EVIL: EVIL}, EVIL, f"[{EVIL}", {"version": EVIL, "model": EVIL}],
        }
        for kind, values in texts.items():
            file = work / f"{kind}{EVIL_NAME}.json"
            words = {
                "mask": ["ask", "--model", self.model, "--image", self.picture, "--mask", file, "What?"],
                "answers": ["evaluate", "--answers", file, "--domain", "rs"],
                "lens": ["report", "--study", self.study, "--output", self.page, "--judge", "exact", "--lens", file],
            }[kind]
            for value in values:
                file.write_text(value if isinstance(value, str) else json.dumps(value))
                run(*words, codes=(0, 1, 2), on_terminal=False)
        broken = work / f"broken{EVIL_NAME}"
        for name in (file.relative_to(self.checkpoint) for file in sorted(self.checkpoint.rglob("*.json"))):
            document = json.loads((self.checkpoint / name).read_text())
            for key in [*document, *(document.get("model") or document.get("text_config") or {})]:
                shutil.rmtree(broken, ignore_errors=True)
                shutil.copytree(self.checkpoint, broken)

                def change(found: dict, key: str = key) -> None:
                    inner = found.get("model") or found.get("text_config") or {}
                    (found if key in found else inner)[key] = EVIL

                change_json(broken / name, change)
                run("convert", broken, "--output", work / f"made{EVIL_NAME}", "--force", codes=(0, 1, 2),
                    on_terminal=False)
                run("inspect", broken, codes=(0, 1, 2), on_terminal=False)
        # Each file of a bench with such keys or a broken end.
        bench = work / f"bad-bench{EVIL_NAME}"
        shutil.copytree(self.bench, bench)
        for file in sorted(bench.rglob("*")):
            if file.suffix not in (".json", ".jsonl", ".csv"):
                continue
            text = file.read_text()
            key = json.dumps(EVIL)[1:-1]
            for changed in (text[:-20] + EVIL, EVIL + text, text.replace("question", f"question{key}"),
                            text.replace("\"answer", f"\"{key}answer")):
                file.write_text(changed)
                run("bench-check", bench, codes=(0, 1, 2), on_terminal=False)
            file.write_text(text)
        pictures = [file for file in bench.rglob("*") if file.suffix in (".png", ".jpg")]
        for number, picture in enumerate(pictures):
            picture.unlink() if number % 2 else picture.write_text(EVIL)
        run("bench-check", bench, codes=(0, 1, 2))
        run("activation", "--model", self.model, "--bench", bench, "--study", work / f"bad{EVIL_NAME}", "--samples", 3,
            codes=(0, 1, 2))

    def tensors(self) -> None:
        """Weights whose names and metadata are such text."""
        run = self.terminal.run
        source = (self.checkpoint / "model.safetensors").read_bytes()
        size = struct.unpack("<Q", source[:8])[0]
        header = json.loads(source[8:8 + size])
        weights = [name for name in header if name != "__metadata__"]
        broken = self.work / f"broken{EVIL_NAME}"
        for change in ("renamed", "kind", "shape", "metadata"):
            document = json.loads(json.dumps(header))
            if change == "renamed":
                document[weights[3] + EVIL] = document.pop(weights[3])
            elif change == "metadata":
                document["__metadata__"] = {EVIL: EVIL, "format": EVIL}
            else:
                document[weights[3]]["dtype" if change == "kind" else "shape"] = EVIL
            text = json.dumps(document).encode()
            shutil.rmtree(broken, ignore_errors=True)
            shutil.copytree(self.checkpoint, broken)
            (broken / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + source[8 + size:])
            run("inspect", broken / "model.safetensors", codes=(0, 1, 2))
            run("inspect", broken, codes=(0, 1, 2))
            run("convert", broken, "--output", self.work / f"made{EVIL_NAME}", "--force", codes=(0, 1, 2))
        # GGUF: each text of the header in turn, of the same length.
        part = EVIL.encode()
        for file in sorted(self.model.glob("*.gguf")):
            data = file.read_bytes()
            folder = self.work / f"changed{EVIL_NAME}"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(self.model, folder)
            for place, length in texts_of(data)[:60]:
                changed = data[:place] + (part * (length // len(part) + 1))[-length:] + data[place + length:]
                (folder / file.name).write_bytes(changed)
                run("inspect", folder / file.name, codes=(0, 1, 2), on_terminal=False)
                run("ask", "--model", folder, "--image", self.picture, "--max-tokens", 2, "What?", codes=(0, 1, 2),
                    on_terminal=False)

    def columns(self, look: Callable[[Path], object]) -> int:
        """A study with such text in each text column of each table: read by every command that does, and its report
        looked at if there is one. Returns how many reports there were."""
        run, changed = self.terminal.run, self.work / f"changed{EVIL_NAME}.sqlite"
        page, reports = self.work / f"changed{EVIL_NAME}.html", 0
        database = sqlite3.connect(self.study)
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = [(table, row[1]) for table in tables for row in database.execute(f'PRAGMA table_info("{table}")')
                   if row[2] == "TEXT"]
        database.close()
        for table, column in columns:
            for every in (f'"{column}" || ?', "?"):
                for suffix in ("", "-wal", "-shm", ".lock"):
                    changed.with_name(changed.name + suffix).unlink(missing_ok=True)
                shutil.copy(self.study, changed)
                database = sqlite3.connect(changed)
                try:
                    if database.execute(f'UPDATE "{table}" SET "{column}" = {every}', (EVIL,)).rowcount < 1:
                        break
                    database.commit()
                except sqlite3.Error:
                    continue  # a key that would be there twice, or a value that no column takes
                finally:
                    database.close()
                page.unlink(missing_ok=True)
                for words in (["status", changed], ["evaluate", "--study", changed, "--judge", "exact", "--draws", 100],
                              ["neurons", "--study", changed], ["identify", "--model", self.model, "--study", changed],
                              ["export", "--study", changed, "--output", self.work / f"out{EVIL_NAME}"],
                              ["report", "--study", changed, "--output", page, "--judge", "exact", "--draws", 100]):
                    run(*words, codes=(0, 1, 2), on_terminal=False)
                if page.exists():
                    reports += 1
                    look(page)
        return reports
