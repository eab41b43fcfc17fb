"""Feeds damaged files to everything that reads one: libFuzzer under the sanitizers for addresses and, in C, undefined
behaviour, a target after the other.

An input may be refused with an `InputError` that names its file in less than 4 kB of text; a trap, a report of the
sanitizer, any other error, more than 2 s or 2 GB is a finding. Its input is left in .build/fuzz/findings.

    python3 tools/check fuzz [TARGET ...] [--seconds 60] [--runs N]
    python3 tools/check fuzz [TARGET ...] --until 1000000   # in turns of --seconds, until all runs together are so many
    python3 tools/check fuzz --table                        # what all runs together are
    python3 tools/check fuzz TARGET --input FILE            # one input again, with all that is said about it

Inputs begin with the files of Tests/Golden, with those of Fuzz/Corpus/TARGET where there is such a folder, and with
what earlier runs found (in .build/fuzz/corpus). The table has this run's numbers; `all` are the executions since
.build/fuzz/executions.json was begun, without those of inputs that were known. Needs a Swift toolchain with libFuzzer's
runtime, as the Linux ones of swift.org have.
"""

import collections
import fcntl
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tools.common.commands import output_of, parser
from tools.common.paths import ROOT

SWIFT = os.environ.get("SWIFT", "swift")
BUILD = ROOT / ".build/fuzz"
FINDINGS = BUILD / "findings"
FLAGS = ["-c", "release", "--package-path", ROOT / "Fuzz", "--scratch-path", BUILD / "build", "--product", "Fuzz",
         "-Xswiftc", "-sanitize=fuzzer,address", "-Xcc", "-fsanitize=fuzzer-no-link,address", "-Xswiftc",
         "-parse-as-library", "-Xswiftc", "-enable-testing"]
# Of processor time; the targets look at it themselves (Entry.swift), and libFuzzer ends what does not come to its end.
SECONDS, PATIENCE = 2, 60
MEGABYTES, LARGEST_INPUT = 2048, 1_000_000
TIMEOUT = 70  # libFuzzer's exit code


def has_runtime() -> bool:
    """Whether the toolchain has libFuzzer."""
    info = json.loads(output_of([SWIFT, "-print-target-info"]))
    return any(Path(info["paths"]["runtimeResourcePath"]).glob("clang/lib/*/*clang_rt.fuzzer*"))


def environment(target: str, scratch: str, **more: str) -> dict[str, str]:
    # Swift's own tables are never given back: leaks show in the limit of memory instead. Memory that was freed is
    # kept from use for a while, not for hundreds of megabytes: those would be touched anew all the time.
    options = {
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0:quarantine_size_mb=8:malloc_context_size=2",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1", "OMP_NUM_THREADS": "1"}
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


def write_words(seeds: Path, file: Path) -> None:
    """Words that libFuzzer puts into inputs: names of the seeds, and values that parsers stumble over."""
    name = re.compile(rb'"[\w .<>-]{1,40}"|[A-Za-z_][\w.]{2,40}')
    found = collections.Counter(word for seed in seeds.iterdir() for word in name.findall(seed.read_bytes()))
    values = [b"null", b"true", b"-1", b"0.5", b"1e999", b"-0", b"NaN", b"9223372036854775807", b"4294967296",
              b"\\ud83d", b"[[", b"{}", b'""', b"..", b"/", b"\xc2\x9b", b"\xe2\x80\xae", b"\0"]
    file.write_text("".join(
        '"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n'
        for word in values + [word for word, _ in found.most_common(400)]))


class Totals:
    """What all runs of the targets are together, in a file."""

    def __init__(self):
        self.path = BUILD / "executions.json"
        self.held = self.read()

    def read(self) -> dict:
        return json.loads(self.path.read_text()) if self.path.is_file() else {}

    def executions(self, target: str) -> int:
        return self.held.get(target, {}).get("executions", 0)

    def add(self, target: str, text: str, seconds: float, fine: bool) -> None:
        # Another process may have added others in the meantime: a core each.
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.held = self.read()
            self.add_alone(target, text, seconds, fine)

    def add_alone(self, target: str, text: str, seconds: float, fine: bool) -> None:
        held = self.held.setdefault(target, {
            "executions": 0, "seconds": 0.0, "fastest": 0, "slowest": 0, "megabytes": 0, "findings": 0})
        # Those before this are of inputs that were there.
        known = re.search(r"^#(\d+)\s+INITED", text, re.MULTILINE)
        done = max(0, statistic(text, "number_of_executed_units") - int(known[1])) if known else 0
        held["executions"] += done
        held["seconds"] += seconds
        held["findings"] += not fine
        for key, name in [("fastest", "average_exec_per_sec"), ("slowest", "slowest_unit_time_sec"),
                          ("megabytes", "peak_rss_mb")]:
            held[key] = max(held[key], statistic(text, name))
        self.path.write_text(json.dumps(self.held, indent=1) + "\n")

    def print(self) -> None:
        print(f"{'target':<18}{'executions':>12}{'fastest':>9}{'slowest':>9}{'MB':>7}{'hours':>7}  findings")
        for target, held in sorted(self.held.items()):
            print(f"{target:<18}{held['executions']:>12,}{held['fastest']:>9}{held['slowest']:>9}"
                  f"{held['megabytes']:>7}{held['seconds'] / 3600:>7.2f}  {held['findings']}")


def fuzz(binary: Path, target: str, limits: list[str], totals: Totals) -> bool:
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
        words = Path(scratch) / "words"
        write_words(seeds, words)
        log = FINDINGS / f"{target}.log"
        begun = time.monotonic()
        with log.open("wb") as output:
            code = subprocess.run(
                [binary, *limits, f"-timeout={PATIENCE}", f"-rss_limit_mb={MEGABYTES}", f"-max_len={LARGEST_INPUT}",
                 f"-dict={words}", "-print_final_stats=1", "-close_fd_mask=1", "-detect_leaks=0",
                 f"-artifact_prefix={FINDINGS}/{target}-", corpus, seeds,
                 *([kept] if kept.is_dir() else [])],
                env=environment(target, scratch), stdout=output, stderr=output).returncode
        text = log.read_text(errors="replace")
        if code == TIMEOUT and not is_slow(binary, target, scratch, text):
            code = 0
    totals.add(target, text, time.monotonic() - begun, code == 0)
    print(f"{target:<18}{totals.executions(target):>12}{statistic(text, 'number_of_executed_units'):>12}"
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
    arguments.add_argument("--until", type=int, help="turns of --seconds until there were so many executions of each")
    arguments.add_argument("--skip-build", action="store_true", help="take the targets as they were built last")
    arguments.add_argument("--table", action="store_true", help="print what all runs together are")
    arguments.add_argument("--available", action="store_true", help="say whether the toolchain has libFuzzer, and end")
    options = arguments.parse_args()
    totals = Totals()
    if options.table:
        totals.print()
        return 0
    if options.input and len(options.targets) != 1:
        arguments.error("--input needs the one TARGET that reads it")
    if options.input and not options.input.is_file():
        arguments.error(f"{options.input}: no such file")
    if not has_runtime():
        print("Fuzzing: left out, for this Swift toolchain has no libFuzzer (libclang_rt.fuzzer).", file=sys.stderr)
        return 1
    if options.available:
        return 0
    if ROOT.name.lower() == "fuzz":
        sys.exit(f"{ROOT}: SwiftPM would take the clone for the package Fuzz/ by its name; give it another one")
    # The C parts: see MMQ_SANITIZE in Package.swift.
    os.environ["MMQ_SANITIZE"] = "1"
    if not options.skip_build:
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
    print(f"{'target':<18}{'all':>12}{'executions':>12}{'/s':>8}{'slowest':>9}{'MB':>7}  found")
    chosen = options.targets or known
    limit = f"-runs={options.runs}" if options.runs else f"-max_total_time={options.seconds}"
    failed: set[str] = set()
    while True:
        # What has a finding waits for its mend.
        left = [target for target in chosen if target not in failed
                and (not options.until or totals.executions(target) < options.until)]
        failed |= {target for target in left if not fuzz(binary, target, [limit], totals)}
        if not left or not options.until:
            return 1 if failed else 0
