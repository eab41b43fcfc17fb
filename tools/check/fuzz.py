"""Feeds damaged files to everything that reads one: libFuzzer under the address sanitizer, a target after the other.

An input may be refused with an `InputError` that names its file in less than 4 kB of text; a trap, a report of the
sanitizer, any other error, more than 2 s or 2 GB is a finding. Its input is left in .build/fuzz/findings.

    python3 tools/check fuzz [TARGET ...] [--seconds 60] [--runs N]
    python3 tools/check fuzz TARGET --input FILE      # one input again, with all that is said about it

Inputs begin with the files of Tests/Golden, with those of Fuzz/Corpus/TARGET where there is such a folder, and with
what earlier runs found (in .build/fuzz/corpus). Needs a Swift toolchain with libFuzzer's runtime, as the Linux ones of
swift.org have.
"""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.common.commands import output_of, parser
from tools.common.paths import ROOT

SWIFT = os.environ.get("SWIFT", "swift")
BUILD = ROOT / ".build/fuzz"
FINDINGS = BUILD / "findings"
FLAGS = ["-c", "release", "--package-path", ROOT / "Fuzz", "--scratch-path", BUILD / "build", "--product", "Fuzz",
         "-Xswiftc", "-sanitize=fuzzer,address", "-Xcc", "-fsanitize=fuzzer-no-link,address", "-Xswiftc",
         "-parse-as-library"]
SECONDS, MEGABYTES, LARGEST_INPUT = 2, 2048, 1_000_000
TIMEOUT = 70  # libFuzzer's exit code


def has_runtime() -> bool:
    """Whether the toolchain has libFuzzer."""
    info = json.loads(output_of([SWIFT, "-print-target-info"]))
    return any(Path(info["paths"]["runtimeResourcePath"]).glob("clang/lib/*/*clang_rt.fuzzer*"))


def environment(target: str, scratch: str, **more: str) -> dict[str, str]:
    # Swift's own tables are never given back: leaks show in the limit of memory instead.
    options = {"ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0", "OMP_NUM_THREADS": "1"}
    return os.environ | options | {"MMQ_FUZZ": target, "MMQ_FUZZ_SCRATCH": scratch} | more


def statistic(text: str, name: str) -> int:
    found = re.findall(rf"stat::{name}:\s+(\d+)", text)
    return int(found[-1]) if found else 0


def cpu_seconds(binary: Path, target: str, scratch: str, file: Path) -> float:
    """What one input costs, the target's setting up included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([binary, file], env=environment(target, scratch), capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def is_slow(binary: Path, target: str, scratch: str, log: str) -> bool:
    """Whether the input of a timeout is slow by itself: libFuzzer goes by the clock, and a busy machine by nobody's."""
    found = re.search(r"written to (\S+timeout-\S+)", log)
    if not found:
        return True
    nothing = Path(scratch) / "nothing"
    nothing.write_bytes(b"")
    seconds = cpu_seconds(binary, target, scratch, Path(found[1])) - cpu_seconds(binary, target, scratch, nothing)
    if seconds <= SECONDS:
        print(f"{target}: stopped early by a busy machine; {Path(found[1]).name} takes {seconds:.2f} s of CPU time")
    return seconds > SECONDS


def fuzz(binary: Path, target: str, limits: list[str]) -> bool:
    """Runs a target and prints a line; whether it found nothing."""
    corpus = BUILD / "corpus" / target
    seeds = BUILD / "seeds" / target
    shutil.rmtree(seeds, ignore_errors=True)
    for folder in (corpus, seeds, FINDINGS):
        folder.mkdir(parents=True, exist_ok=True)
    kept = ROOT / "Fuzz/Corpus" / target
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as scratch:
        subprocess.run([binary], check=True, env=environment(target, scratch, MMQ_FUZZ_SEEDS=str(seeds)))
        log = FINDINGS / f"{target}.log"
        with log.open("wb") as output:
            code = subprocess.run(
                [binary, *limits, f"-timeout={SECONDS}", f"-rss_limit_mb={MEGABYTES}", f"-max_len={LARGEST_INPUT}",
                 "-print_final_stats=1", "-close_fd_mask=1", f"-artifact_prefix={FINDINGS}/{target}-", corpus, seeds,
                 *([kept] if kept.is_dir() else [])],
                env=environment(target, scratch), stdout=output, stderr=output).returncode
        text = log.read_text(errors="replace")
        if code == TIMEOUT and not is_slow(binary, target, scratch, text):
            code = 0
    print(f"{target:<18}{statistic(text, 'number_of_executed_units'):>12}"
          f"{statistic(text, 'average_exec_per_sec'):>8}{statistic(text, 'slowest_unit_time_sec'):>9}"
          f"{statistic(text, 'peak_rss_mb'):>7}  {'nothing' if code == 0 else 'A FINDING'}", flush=True)
    if code:
        print(text[-3000:], f"\nall of it: {log}", sep="", flush=True)
    return code == 0


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("targets", nargs="*", metavar="TARGET")
    arguments.add_argument("--seconds", type=int, default=60, help="for each target (default: 60)")
    arguments.add_argument("--runs", type=int, help="executions of each target, in place of --seconds")
    arguments.add_argument("--input", type=Path, help="run one input of the one TARGET that is named")
    options = arguments.parse_args()
    if options.input and len(options.targets) != 1:
        arguments.error("--input needs the one TARGET that reads it")
    if options.input and not options.input.is_file():
        arguments.error(f"{options.input}: no such file")
    if not has_runtime():
        print("Fuzzing: left out, for this Swift toolchain has no libFuzzer (libclang_rt.fuzzer).", file=sys.stderr)
        return 1
    print("Building the fuzz targets ...", flush=True)
    subprocess.run([SWIFT, "build", *FLAGS], check=True, stdout=sys.stderr)
    binary = Path(output_of([SWIFT, "build", *FLAGS, "--show-bin-path"]).strip()) / "Fuzz"
    known = output_of([binary], env=os.environ | {"MMQ_FUZZ": "list"}).split()
    if unknown := set(options.targets) - set(known):
        sys.exit(f"no target {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if options.input:
        with tempfile.TemporaryDirectory() as scratch:
            return subprocess.run(
                [binary, options.input], env=environment(options.targets[0], scratch)).returncode
    print(f"{'target':<18}{'executions':>12}{'/s':>8}{'slowest':>9}{'MB':>7}  found")
    limit = f"-runs={options.runs}" if options.runs else f"-max_total_time={options.seconds}"
    results = [fuzz(binary, target, [limit]) for target in options.targets or known]
    return 0 if all(results) else 1
