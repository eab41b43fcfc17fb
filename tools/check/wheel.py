"""Tries the wheel of `make wheel`: what is in it, its program against the build tree's, and all of it on a bare Debian.

    python3 tools/check wheel [--only inside|same|bare] [--fresh] [--wheel FILE] [--mmq .build/release/mmq]
    python3 tools/check wheel --python python3.9

inside  At most 40 MB, a manylinux tag, one version everywhere; every library that the program loads is glibc's or the
        wheel's own.
same    Both programs convert the demo's models to the same bytes, trace a picture to the same bytes, on two
        threads, and count a domain in processor time that differs by at most 1 % (least of --runs, in turn; of up to
        four times as many where it is more: a machine that others share has fast and slow minutes).
bare    debootstrap's smallest Debian with Python, in .build/wheel/debian (kept for the next time; --fresh makes it
        anew), without network: `pip install`, then the README's examples, from the first conversion to "From Python",
        with the outputs that it shows, and the demo's models, which must answer as the build tree's program does.
        Runs in name spaces of its own: what is mounted there goes with the last process, however it ends. Needs root,
        and the network for Debian's packages and numpy.

--python installs the wheel for another Python of this machine instead, and runs there what `bare` runs. Linux only.
"""

import argparse
import os
import platform
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Iterator

from tools.check.readme import TIMES, blocks, fits, split
from tools.common.commands import one_file, output_of, parser
from tools.common.families import CHECKPOINTS
from tools.common.paths import DEMO, GOLDEN, MMQ, ROOT
from tools.common.trial import Failure, contents, difference

WORK = ROOT / ".build/wheel"
DEBIAN = WORK / "debian"
MEGABYTES = 40
SUITE, SUITE_PYTHON = "bookworm", "3.11"
GLIBC = re.compile(r"(linux-vdso|ld-linux-[\w-]+|lib(c|m|dl|rt|pthread|util|resolv))\.so(\.\d+)?$")
PICTURE = "rs/Data"
QUESTION = "How many buildings are there?"

# Runs a shell command line somewhere, in a given folder; gives what it prints.
Run = Callable[[str], str]


def demanded(holds: bool, what: str) -> None:
    if not holds:
        raise Failure(what)


# What is in it.


def libraries(file: Path, own: Path) -> list[str]:
    """What a program or library loads that is neither glibc's nor lies in a folder of its own."""
    foreign = []
    for line in output_of(["ldd", file]).splitlines():
        name, _, place = line.strip().partition(" => ")
        if GLIBC.match(Path(name.split(" ")[0]).name):
            continue
        if not (place.startswith("/") and Path(place.split(" (")[0]).resolve().is_relative_to(own)):
            foreign.append(line.strip())
    return foreign


def check_inside(wheel: Path, unpacked: Path, mmq: Path) -> None:
    size = wheel.stat().st_size / 1e6
    demanded(size <= MEGABYTES, f"{wheel.name} has {size:.1f} MB, more than {MEGABYTES}")
    tag = re.fullmatch(r"mmq-([\d.]+)-py3-none-(manylinux_\d+_\d+_\w+)\.whl", wheel.name)
    demanded(tag is not None, f"{wheel.name} is not mmq-VERSION-py3-none-manylinux_*.whl")
    program = unpacked / "mmq/bin/mmq"
    own = [program, *sorted((unpacked / "mmq.libs").glob("*"))]
    for file in own:
        foreign = libraries(file, unpacked)
        demanded(not foreign, f"{file.relative_to(unpacked)} loads what is not in the wheel: {'; '.join(foreign)}")
    metadata = next(unpacked.glob("*.dist-info/METADATA")).read_text()
    versions = {"name": tag[1], "metadata": re.search(r"^Version: (.*)$", metadata, re.M)[1],
                "package": (unpacked / "mmq/VERSION").read_text().strip(),
                "program": output_of([program, "--version"]).strip(),
                "build tree's": output_of([mmq, "--version"]).strip()}
    demanded(len(set(versions.values())) == 1, f"versions differ: {versions}")
    print(f"inside: {wheel.name}, {size:.1f} MB; {', '.join(file.name for file in own)}: glibc's libraries and its own",
          flush=True)


# Its program against the build tree's.


def processor_seconds(words: list) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    output_of(words)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def trace(program: Path, model: Path, output: Path) -> list:
    return [program, "trace", "--model", model, "--image", DEMO / f"bench/{PICTURE}/0.png", "--prompt",
            f"<image>\n{QUESTION}", "--output", output, "--threads", "2", "--sites",
            "ids,pixels,image,hidden,logits,counts,mlp"]


def threads_of(program: Path, model: Path, output: Path) -> int:
    """How many threads OpenMP's runtime says that it started."""
    words = [str(word) for word in trace(program, model, output)]
    said = subprocess.run(words, check=True, capture_output=True, text=True,
                          env=os.environ | {"OMP_DISPLAY_AFFINITY": "TRUE"})
    return len(set(re.findall(r"^OMP: pid \d+ tid (\d+)", said.stdout + said.stderr, re.M)))


def check_same(programs: dict[str, Path], work: Path, runs: int) -> None:
    models = {}
    for arch in CHECKPOINTS:
        if not (DEMO / arch).is_dir():
            continue
        traces = {}
        for name, program in programs.items():
            models[name, arch] = model = work / name / arch
            output_of([program, "convert", DEMO / arch, "--output", model])
            traces[name] = work / name / f"{arch}.safetensors"
            output_of(trace(program, model, traces[name]))
        one, other = programs
        if file := difference(contents(models[one, arch]), contents(models[other, arch])):
            raise Failure(f"{arch}: {file} is not what the build tree's program makes")
        demanded(traces[one].read_bytes() == traces[other].read_bytes(),
                 f"{arch}: a trace is not the build tree's program's")
        size = traces[one].stat().st_size / 1e6
        print(f"same: {arch}, converted and traced ({size:.1f} MB), to the byte", flush=True)
    threads = {name: threads_of(program, models[one, "llava-next"], work / "threads.safetensors")
               for name, program in programs.items()}
    demanded(set(threads.values()) == {2}, f"asked for two threads, they run {threads}")
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    ratio = 2.0
    for turn in range(4 * runs):
        if turn >= runs and ratio <= 1.01:
            break
        for name, program in programs.items():
            study = work / f"{name}-{turn}.sqlite"
            # One thread: others wait for each other in loops, which is no work.
            seconds[name].append(processor_seconds(
                [program, "activation", "--model", models[one, "llava-next"], "--bench", DEMO / "bench", "--study",
                 study, "--domain", "rs", "--threads", "1"]))
        best = {name: min(times) for name, times in seconds.items()}
        ratio = best["wheel"] / best["build tree"]
    print(f"same: {threads['wheel']} threads; counting takes {best['wheel']:.2f} s of processor time, the build tree's "
          f"program {best['build tree']:.2f} s: {ratio:.3f}", flush=True)
    demanded(ratio <= 1.01, f"{ratio:.3f} times the processor time of the build tree's program")


# On a machine that has nothing.


def debian(fresh: bool) -> None:
    """Makes the bare system where it is not there."""
    if fresh:
        shutil.rmtree(DEBIAN, ignore_errors=True)
    if not DEBIAN.is_dir():
        part = DEBIAN.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        print(f"Making a bare Debian in {DEBIAN.relative_to(ROOT)} ...", flush=True)
        output_of(["unshare", "--mount", "debootstrap", "--variant=minbase", "--include=python3,python3-venv", SUITE,
                   part])
        part.rename(DEBIAN)
    strangers = [str(path.relative_to(DEBIAN)) for folder in ("usr", "opt") for name in
                 ("libomp*", "libgomp*", "libjpeg*", "libpng*", "libswift*", "swift*", "numpy")
                 for path in (DEBIAN / folder).rglob(name)]
    demanded(not strangers, f"{DEBIAN} is not bare: {', '.join(strangers[:5])}")
    for left in (DEBIAN / "root").glob("mmq-*"):
        shutil.rmtree(left)  # by a check that was killed


def install_debootstrap() -> None:
    missing = shutil.which("debootstrap") is None
    if os.geteuid() != 0 or (missing and shutil.which("apt-get") is None):
        raise SystemExit("'bare' needs root, and debootstrap, which apt-get has on Debian and Ubuntu")
    if missing:
        print("Installing debootstrap ...", flush=True)
        output_of(["apt-get", "update", "-qq"])
        output_of(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "debootstrap"],
                  env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})


def numpy_for_debian() -> Path:
    """The wheel of a numpy for the bare system's Python, which has no network."""
    folder = WORK / "numpy"
    if not list(folder.glob("*.whl")):
        machine = platform.machine()
        tags = [f"--platform={tag}_{machine}" for tag in ("manylinux2014", "manylinux_2_28")]
        output_of([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", folder,
                   f"--python-version={SUITE_PYTHON}", *tags, "numpy"])
    return one_file(folder, "*.whl")


@contextmanager
def bare(wheel: Path, fresh: bool) -> Iterator[tuple[Path, Run]]:
    """A folder in the bare Debian, and what runs commands in it, with the wheel installed."""
    install_debootstrap()
    debian(fresh)
    numpy = numpy_for_debian()
    folder = Path(tempfile.mkdtemp(prefix="mmq-", dir=DEBIAN / "root"))
    inside = Path("/") / folder.relative_to(DEBIAN)

    def run(command: str) -> str:
        mounts = 'mount -t proc proc "$0/proc" && mkdir -p "$0/dev/shm" && mount -t tmpfs tmpfs "$0/dev/shm"'
        start = f'{mounts} && exec chroot "$0" /usr/bin/env -i HOME=/root PATH="$1" LANG=C.UTF-8 sh -euc "$2"'
        return output_of(["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "sh", "-euc", start, DEBIAN,
                          f"{inside}/venv/bin:/usr/bin:/bin", f"cd {inside}; {command}"])

    try:
        for file in (wheel, numpy):
            shutil.copy(file, folder)
        run("python3 -m venv venv")
        run(f"pip install -q --no-index {wheel.name} {numpy.name}")
        yield folder, run
    finally:
        shutil.rmtree(folder)


@contextmanager
def other_python(wheel: Path, python: str) -> Iterator[tuple[Path, Run]]:
    """A folder with a virtual environment of another Python, and what runs commands in it."""
    with tempfile.TemporaryDirectory(dir=WORK) as work:
        folder = Path(work)
        variables = {key: value for key, value in os.environ.items() if key not in ("MMQ", "PYTHONPATH")}
        variables["PATH"] = f"{folder}/venv/bin:/usr/bin:/bin"
        output_of([python, "-m", "venv", folder / "venv"])
        output_of([folder / "venv/bin/pip", "install", "-q", wheel, "numpy"])
        yield folder, lambda command: output_of(["sh", "-euc", command], cwd=folder, env=variables)


def examples() -> tuple[list[tuple[str, list[str]]], str]:
    """Of the README: the commands that "From Python" stands on, with their output, and its example."""
    lines = (ROOT / "README.md").read_text().split("\n")
    commands = [split(lines[start:end]) for start, end in blocks(lines, "$ mmq")]
    chosen = [next(command for command in commands if command[0].startswith(f"mmq {name} "))
              for name in ("convert", "ask", "activation", "activations")]
    start, end = next(place for place in blocks(lines, ">>>") if "import mmq" in lines[place[0]])
    return chosen, "\n".join(line[4:] for line in lines[start:end]) + "\n"


def answers(run: Run, mmq: str) -> dict[str, str]:
    """What the demo's models answer, with a program."""
    given = {}
    for arch in CHECKPOINTS:
        if (DEMO / arch).is_dir():
            run(f"{mmq} convert models/{arch} --output demo-{arch} --force")
            for image in range(3):
                given[f"{arch}, picture {image}"] = run(
                    f"{mmq} ask --model demo-{arch} --image models/bench/{PICTURE}/{image}.png {shlex.quote(QUESTION)}")
    return given


def exercise(place: Path, run: Run, mmq: Path) -> None:
    """All that an installed wheel is to do, in a folder of its own."""
    for kept in (GOLDEN / "llava-next/hub-f16/checkpoint", GOLDEN / "bench"):
        shutil.copytree(kept, place / kept.relative_to(ROOT))
    shutil.copytree(DEMO, place / "models")
    demanded(run("command -v mmq").strip().endswith("/venv/bin/mmq"), "pip installed no command mmq")
    said = run("mmq --version && python -c 'import sys, mmq; print(mmq.__version__); print(mmq.find_binary()); "
               "print(sys.version.split()[0])'").split()
    demanded(said[0] == said[1] and "/mmq/bin/mmq" in said[2], f"mmq --version, mmq.__version__, its program: {said}")
    commands, example = examples()
    for command, expected in commands:
        output = run(command).rstrip("\n").split("\n")
        demanded(fits([TIMES.sub("_", line) for line in expected], [TIMES.sub("_", line) for line in output]),
                 f"$ {command}\n" + "\n".join(output) + "\nis not what the README shows")
    (place / "example").write_text(example)
    run("python -m doctest example")
    found = answers(run, "mmq")
    expected = answers(lambda command: output_of(["sh", "-euc", command], cwd=place), shlex.quote(str(mmq)))
    if name := difference(expected, found):
        raise Failure(f"{name}: {found[name]!r}, the build tree's program {expected[name]!r}")
    print(f"Python {said[3]}: mmq {said[0]}, {len(commands)} commands and the example of the README, "
          f"{len(found)} answers of the demo's models as the build tree's program gives them", flush=True)


def check(options: argparse.Namespace, wheel: Path) -> None:
    mmq = options.mmq.resolve()
    with tempfile.TemporaryDirectory(dir=WORK) as folder:
        work = Path(folder)
        if options.python:
            with other_python(wheel, options.python) as place:
                exercise(*place, mmq)
            return
        unpacked = work / "unpacked"
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(unpacked)
        program = unpacked / "mmq/bin/mmq"
        demanded(program.is_file(), f"{wheel.name} has no mmq/bin/mmq")
        program.chmod(0o755)  # zipfile keeps no modes
        if options.only in (None, "inside"):
            check_inside(wheel, unpacked, mmq)
        if options.only in (None, "same"):
            check_same({"wheel": program, "build tree": mmq}, work, options.runs)
    if options.only in (None, "bare"):
        with bare(wheel, options.fresh) as place:
            exercise(*place, mmq)


def main() -> int:
    given = parser(__doc__)
    given.add_argument("--only", choices=["inside", "same", "bare"])
    given.add_argument("--fresh", action="store_true", help="make the bare Debian anew")
    given.add_argument("--wheel", type=Path, help="default: the one in dist")
    given.add_argument("--mmq", type=Path, default=MMQ)
    given.add_argument("--python", metavar="PYTHON", help="the interpreter of another Python")
    given.add_argument("--runs", type=int, default=15, help="how often processor time is measured")
    options = given.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: exit(143))
    try:
        check(options, (options.wheel or one_file(ROOT / "dist", "mmq-*.whl")).resolve())
    except Failure as failure:
        print(failure)
        return 1
    return 0
