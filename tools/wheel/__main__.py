"""Makes the Python package as one wheel with the program inside: dist/mmq-VERSION-py3-none-PLATFORM.whl.

    python3 tools/wheel [--output dist]          `make wheel`

The program is a release build with Swift's runtime, libjpeg, libpng, zlib, SQLite and libstdc++ linked statically.
OpenMP's runtime, of which Debian has no archive, is copied into the wheel by auditwheel, which also says for which
systems the wheel is: those with this machine's glibc or a newer one. On macOS (never tried) delocate copies what
Homebrew has. Needs the network once, for the packages of tools/wheel/requirements.txt. `tools/check wheel` tries it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])

from tools.common.commands import one_file, output_of, parser
from tools.common.paths import ROOT

WORK = ROOT / ".build/wheel"
BUILD = WORK / "build"
MACOS = sys.platform == "darwin"
SWIFT = os.environ.get("SWIFT", "swift")

# Library as it is named to the linker, to its archive. libgcc_s has none: libgcc_eh is its archive's name.
ARCHIVES = {"jpeg": "jpeg", "png": "png", "z": "z", "sqlite3": "sqlite3", "stdc++": "stdc++", "gcc_s": "gcc_eh"}
# Debian's and Ubuntu's packages of what is linked or copied in, for their terms. Swift's Foundation contains ICU.
PACKAGES = ("libjpeg*turbo*", "libpng16*", "zlib1g", "libsqlite3-0", "libomp5*", "libstdc++6", "libicu[0-9]*")


def environment() -> Path:
    """The folder of the packages' programs, in a virtual environment that is made where it is not there."""
    folder, wanted = WORK / "venv", Path(__file__).parent / "requirements.txt"
    mark = folder / "made-of.txt"
    if not mark.is_file() or mark.read_text() != wanted.read_text():
        print(f"Making a virtual environment in {folder.relative_to(ROOT)} ...", flush=True)
        output_of([sys.executable, "-m", "venv", "--clear", folder])
        output_of([folder / "bin/pip", "install", "-q", "-r", wanted])
        shutil.copy(wanted, mark)
    return folder / "bin"


def archives() -> Path:
    """A folder of archives alone. The linker takes a library from the first folder that has it in any form, so that
    what lies here is linked statically. The names of glibc's are not here: a program brings no glibc."""
    folder = WORK / "archives"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    compiler = next((found for name in ("clang", "gcc", "cc") if (found := shutil.which(name))), None)
    if compiler is None:
        raise SystemExit("needs clang or gcc, which know where the libraries are")
    for library, archive in ARCHIVES.items():
        place = Path(output_of([compiler, f"-print-file-name=lib{archive}.a"]).strip())
        if place.is_absolute() and place.is_file():
            (folder / f"lib{library}.a").symlink_to(place.resolve())
        else:
            print(f"There is no lib{archive}.a: lib{library} is copied into the wheel as it is.")
    return folder


def program() -> Path:
    words = [SWIFT, "build", "-c", "release", "--product", "mmq", "--scratch-path", str(BUILD)]
    if not MACOS:
        words += ["--static-swift-stdlib", "-Xlinker", f"-L{archives()}"]
    print("Building mmq for the wheel (release, statically linked) ...", flush=True)
    if subprocess.run(words, cwd=ROOT).returncode:
        raise SystemExit(1)
    return BUILD / "release/mmq"


def licenses() -> str:
    """The terms of all that is inside beside mmq's own files."""
    places = {folder.name: sorted(folder.glob("LICENSE*")) for folder in sorted((BUILD / "checkouts").iterdir())}
    swift = Path(shutil.which(SWIFT) or SWIFT).resolve().parents[1]
    places["Swift's runtime and libraries"] = [swift / "share/swift/LICENSE.txt"]
    for name in PACKAGES:
        found = sorted(Path("/usr/share/doc").glob(f"{name}/copyright"))[:1]
        places[found[0].parent.name if found else name] = found
    text = ["The program mmq in this package contains these, under their own terms.\n"]
    for name, files in places.items():
        if not any(file.is_file() for file in files):
            print(f"There are no terms of {name} here to go into the wheel.")
        text += [f"\n======== {name}\n\n{file.read_text()}" for file in files if file.is_file()]
    return "".join(text)


def package(built: Path) -> Path:
    """The Python package's folder with the program and the terms in it."""
    folder = WORK / "package"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "python", folder, ignore=shutil.ignore_patterns(
        "__pycache__", "*.egg-info", "tests", "build", "dist", "bin"))
    inside = folder / "src/mmq/bin/mmq"
    inside.parent.mkdir()
    # Symbols are for debuggers; what mmq says needs none.
    output_of(["strip", *(["-x"] if MACOS else []), "-o", inside, built])
    shutil.copy(ROOT / "LICENSE", folder / "LICENSE")
    (folder / "LICENSE.others").write_text(licenses())
    return folder


def main() -> None:
    given = parser(__doc__)
    given.add_argument("--output", type=Path, default=ROOT / "dist")
    options = given.parse_args()
    output = options.output.resolve()
    programs = environment()
    raw, repaired = WORK / "raw", WORK / "repaired"
    for folder in (raw, repaired):
        shutil.rmtree(folder, ignore_errors=True)
    variables = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"}
    if MACOS:
        variables["MACOSX_DEPLOYMENT_TARGET"] = "14.0"  # as Package.swift says
    source = package(program())
    print("Making the wheel ...", flush=True)
    output_of([programs / "python", "-m", "build", "--wheel", "--no-isolation", "--outdir", raw, source], env=variables)
    made = one_file(raw, "*.whl")
    repair = [programs / "delocate-wheel"] if MACOS else [programs / "auditwheel", "repair"]
    output_of([*repair, "-w", repaired, made], env=variables)
    wheel = one_file(repaired, "*.whl")
    output.mkdir(parents=True, exist_ok=True)
    for old in output.glob("mmq-*.whl"):
        old.unlink()
    shutil.move(wheel, output / wheel.name)
    shown = os.path.relpath(output / wheel.name)
    print(f"{shown}: {os.stat(shown).st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
