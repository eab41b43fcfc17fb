"""Checks beside `make test`: against transformers and the definitions, under SIGKILL, by damaged files, of the README
and of reports, and of the kernels on CPUs that this machine is not."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])

from tools.common.commands import run

run("check", __doc__, {
    "transformers": ("against_transformers", "any checkpoint, stage by stage, against transformers"),
    "compat": ("compat", "--compat 4.41 against transformers 4.41.2, in an environment of its own"),
    "dape": ("dape", "exported neuron sets against the definition"),
    "claims": ("claims", "scores, matrices, chance, rules and stability against numpy, from the exports"),
    "kill": ("kill", "kills commands at random moments and compares what they leave"),
    "shards": ("shards", "runs every command as shards and compares the merged study with one run's"),
    "cluster": ("cluster", "runs a study on a Slurm cluster of this machine alone, with nodes that die"),
    "filesystems": ("filesystems", "studies on a tmpfs, read-only, and without shared memory"),
    "torture": ("torture.campaign", "a long campaign of changed inputs, failing writes, kills"),
    "fuzz": ("fuzz", "damaged files for everything that reads one, by libFuzzer"),
    "python": ("python", "the tests of the Python package, which drive the real program"),
    "types": ("python_types", "the types of the Python package, with mypy --strict for Python 3.9"),
    "notebook": ("notebook", "runs the notebook of examples/, which a script is the source of"),
    "wheel": ("wheel", "what is in the wheel, its program against the build tree's, all of it on a bare Debian"),
    "readme": ("readme", "runs the README's examples"),
    "report": ("report.sh", "opens a report in headless Chromium"),
    "text": ("hostile.campaign", "text that a terminal or a page would obey, everywhere; pages in headless Chromium"),
    "explore": ("explore", "drives the page of explore in headless Chromium, and attacks its server"),
    "worst": ("worst", "files made to take as long as a megabyte can"),
    "sanitized": ("sanitized.sh", "the tests under the sanitizers for addresses, undefined behaviour and threads"),
    "threads": ("threads.sh", "the kernels on several threads, under the thread sanitizer"),
    "leaves": ("leaves/native.sh", "every kernel that this CPU runs against the scalar ones"),
    "leaves-arm": ("leaves/arm.sh", "the NEON kernels, on an emulated Arm CPU where this is none"),
    "leaves-avx512": ("leaves/avx512.sh", "the AVX-512 and AVX-VNNI kernels on an emulated CPU"),
    "tests-avx512": ("leaves/avx512_tests.sh", "Swift tests on that CPU"),
})
