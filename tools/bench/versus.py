"""Times mmq against other engines on the same machine, in turn, and prints ratios with their spread.

    python3 tools/bench versus --model MODEL_DIR --rival llama.cpp=path/to/llama-bench [--rival NAME=PATH ...]
        [-p 512] [-p 2928] [-n 32] [--rounds 3] [--threads N] [--mmq .build/release/mmq] [--json]

Builds nothing. Every rival is a `llama-bench` (of llama.cpp or a fork of it) and gets the language
GGUF of MODEL_DIR, which it can open; `NAME=PATH -rtr 1` passes further arguments on. One round runs
each engine once on each length, so a machine that slows down slows all of them; a ratio is taken
within its round. Python's standard library only.
"""

import json
import os
import shlex
import statistics
import sys
import time
from pathlib import Path

from tools.common.commands import one_file, output_of, parser
from tools.common.paths import MMQ


def time_mmq(options, kind: str, tokens: int) -> float:
    """Tokens per second."""
    lengths = ["-p", str(tokens), "-n", "1"] if kind == "prompt" else ["-p", "8", "-n", str(tokens)]
    report = json.loads(output_of(
        [options.mmq, "bench", "--model", options.model, "--repetitions", "1", "--json",
         "--threads", options.threads, *lengths]))
    name = f"prompt {tokens}" if kind == "prompt" else f"decode {tokens}"
    return next(row["tokens_per_second"] for row in report["rows"] if row["name"] == name)


def time_rival(options, command: list[str], kind: str, tokens: int) -> float:
    program = Path(command[0]).resolve()
    lengths = ["-p", str(tokens), "-n", "0"] if kind == "prompt" else ["-p", "0", "-n", str(tokens)]
    libraries = f"{program.parent}:{os.environ.get('LD_LIBRARY_PATH', '')}"
    report = json.loads(output_of(
        [program, "-m", options.language, "-t", options.threads, "-r", "1",
         "-o", "json", *lengths, *command[1:]],
        env=os.environ | {"LD_LIBRARY_PATH": libraries}))
    return report[0]["avg_ts"]


def main() -> None:
    given = parser(__doc__)
    given.add_argument("--model", type=Path, required=True)
    given.add_argument("--rival", action="append", required=True, metavar="NAME=COMMAND")
    given.add_argument("-p", "--prompt", type=int, action="append", help="default: 512")
    given.add_argument("-n", "--generate", type=int, default=32, help="0: no decoding")
    given.add_argument("--rounds", type=int, default=3)
    given.add_argument("--threads", type=int, default=os.cpu_count())
    given.add_argument("--mmq", type=Path, default=MMQ)
    given.add_argument("--json", action="store_true")
    options = given.parse_args()
    rivals = {}
    for text in options.rival:
        name, _, command = text.partition("=")
        rivals[name] = shlex.split(command)
        if not rivals[name] or not Path(rivals[name][0]).is_file():
            given.error(f"--rival {text}: expected NAME=PATH of a llama-bench")
    options.language = one_file(options.model, "language-*.gguf")

    work = [("prompt", p) for p in options.prompt or [512]]
    work += [("decode", options.generate)] if options.generate else []
    speeds: dict[tuple, dict[str, list[float]]] = {item: {} for item in work}
    start, done, total = time.monotonic(), 0, options.rounds * len(work) * (1 + len(rivals))
    for _ in range(options.rounds):
        for item in work:
            for name, command in {"mmq": None, **rivals}.items():
                speed = (time_mmq(options, *item) if command is None
                         else time_rival(options, command, *item))
                speeds[item].setdefault(name, []).append(speed)
                done += 1
                left = (time.monotonic() - start) / done * (total - done)
                print(f"{item[0]} {item[1]}, {name}: {speed:.2f} tokens/s; about {left:.0f} s left",
                      file=sys.stderr, flush=True)

    rows = []
    for (kind, tokens), found in speeds.items():
        for name, values in found.items():
            row = {"what": f"{kind} {tokens}", "engine": name, "tokens_per_second": values}
            if name != "mmq":
                row["ratios"] = [ours / theirs for ours, theirs in zip(found["mmq"], values)]
            rows.append(row)
    if options.json:
        json.dump({"threads": options.threads, "model": options.language.name, "rows": rows},
                  sys.stdout, indent=2)
        print()
        return
    print(f"{'':<14}{'engine':<16}{'tokens/s':>10}  {'(least-most)':<18}{'mmq is':>8}  (least-most)")
    for row in rows:
        values, ratios = row["tokens_per_second"], row.get("ratios")
        line = (f"{row['what']:<14}{row['engine']:<16}{statistics.median(values):>10.2f}  "
                f"{f'({min(values):.2f}-{max(values):.2f})':<18}")
        if ratios:
            line += (f"{statistics.median(ratios):>6.2f} x  ({min(ratios):.2f}-{max(ratios):.2f})")
        print(line.rstrip())

