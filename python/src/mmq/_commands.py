"""mmq's commands as functions. Options are the commands' own, `top_rate=0.02` for `--top-rate 0.02`: True is a flag,
False the same switched off (`positions=False` is `--no-positions`), a list is joined by commas, None is left out.
`mmq help COMMAND` tells all."""

import json
import os
import re
import subprocess
import threading
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional

from ._binary import PathLike, find_binary
from ._errors import MmqError
from ._session import without_name

_BAR = re.compile(r"^(?P<label>.*\S) (?P<percent>\d+) %(?:\s|$)")


@dataclass(frozen=True)
class Progress:
    """A line that a command says on its way, every ten seconds or when something befalls a sample.

    Attributes:
        text: the line.
        label: what is under way; empty where the line is a note.
        fraction: the part that is done, 0 to 1; None where the line is a note.
    """

    text: str
    label: str = ""
    fraction: Optional[float] = None


Callback = Callable[[Progress], None]


def _reason(line: str) -> str:
    return line[len("Error: "):] if line.startswith("Error: ") else without_name(line)


def _told(line: str) -> Progress:
    found = _BAR.match(line)
    return Progress(line, found["label"], int(found["percent"]) / 100) if found else Progress(line)


def _off(program: str, command: str, option: str) -> List[str]:
    """The words that switch a flag off: none where it is off unless it is given."""
    told = subprocess.run([program, command, "--help"], stdin=subprocess.DEVNULL, capture_output=True).stdout.decode()
    opposite = "--no-" + option[2:]
    if re.search(rf"^ +{option}/{opposite}\b", told, re.MULTILINE):
        return [opposite]
    if re.search(rf"^ +{option}(?:  |$)", told, re.MULTILINE):
        return []
    raise MmqError(f"mmq {command}: {option} is no flag that could be False")


def _words(program: str, command: str, options: Dict[str, Any]) -> List[str]:
    words = []
    for name, value in options.items():
        option = "--" + name.rstrip("_").replace("_", "-")
        if hasattr(value, "tolist"):  # numpy's
            value = value.tolist()
        if value is None:
            continue
        if value is False:
            words += _off(program, command, option)
        elif value is True:
            words.append(option)
        elif isinstance(value, (list, tuple)):
            words.append(f"{option}={','.join(map(str, value))}")
        else:
            words.append(f"{option}={os.fspath(value) if hasattr(value, '__fspath__') else value}")
    return words


def call(arguments: List[str], options: Dict[str, Any], progress: Optional[Callback] = None,
         binary: Optional[PathLike] = None) -> Any:
    """Runs a command with `--json`; gives its document back."""
    program = find_binary(binary)
    command = [program, *arguments, *_words(program, arguments[0], options), "--json"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    output: List[bytes] = []
    results = process.stdout
    reader = threading.Thread(target=lambda: output.append(results.read()), daemon=True)
    reader.start()
    said: List[str] = []
    try:
        for raw in process.stderr:
            line = raw.decode(errors="replace").rstrip("\n")
            said = (said + [line])[-40:]
            if progress is not None and line:
                progress(_told(line))
        code = process.wait()
        reader.join()
    except BaseException:  # Ctrl-C, or the callback: what is done is kept, the same call goes on
        process.terminate()
        process.wait()
        raise
    finally:
        process.stderr.close()
        reader.join()
        results.close()
    text = output[0].decode(errors="replace") if output else ""
    if code != 0:
        # The last line is the reason; usage errors have their own first.
        lines = [line for line in said if line.strip()]
        wrong = [line for line in lines if line.startswith(("mmq: ", "Error: "))]
        raise MmqError(_reason((wrong or lines or [f"mmq {arguments[0]}: exit code {code}"])[-1]))
    return json.loads(text)


def convert(checkpoint: PathLike, output: PathLike, *, progress: Optional[Callback] = None,
            binary: Optional[PathLike] = None, **options: Any) -> Dict[str, Any]:
    """Makes a model folder of a Hugging Face checkpoint (`type="q4_0"`, `vision_type="q8_0"`, ...).

    Returns:
        the files that were written, `language` and `vision`, and what is in them.
    """
    found: Dict[str, Any] = call(["convert", os.fspath(checkpoint)], {"output": output, **options}, progress, binary)
    return found


def activation(model: PathLike, bench: PathLike, study: PathLike, *, progress: Optional[Callback] = None,
               binary: Optional[PathLike] = None, **options: Any) -> List[Dict[str, Any]]:
    """Counts which neurons fire over a bench, into a study (`domain=["rs", "com"]`, `samples=100`, ...). A call that
    was interrupted goes on where it was."""
    found: List[Dict[str, Any]] = call(
        ["activation"], {"model": model, "bench": bench, "study": study, **options}, progress, binary)
    return found


def identify(study: PathLike, *, progress: Optional[Callback] = None, binary: Optional[PathLike] = None,
             **options: Any) -> List[Dict[str, Any]]:
    """Finds domain-specific neurons (`module="lang"`, `top_rate=0.02`, `rule="difference"`, `set="wide"`, ...)."""
    found: List[Dict[str, Any]] = call(["identify"], {"study": study, **options}, progress, binary)
    return found


def generate(study: PathLike, model: PathLike, bench: PathLike, *, progress: Optional[Callback] = None,
             binary: Optional[PathLike] = None, **options: Any) -> List[Dict[str, Any]]:
    """Answers a bench's questions under masks, into a study (`masks=["none", "lang"]`, `greedy=True`, ...). A call that
    was interrupted goes on where it was."""
    found: List[Dict[str, Any]] = call(
        ["generate"], {"study": study, "model": model, "bench": bench, **options}, progress, binary)
    return found


def evaluate(study: PathLike, *, progress: Optional[Callback] = None, binary: Optional[PathLike] = None,
             **options: Any) -> Dict[str, Any]:
    """Scores a study's answers (`metric="official"`, `judge="exact"`, `domain="rs"`, ...): `scores`, `matrices` and
    `controls`, scores between 0 and 1 with 95 % intervals."""
    found: Dict[str, Any] = call(["evaluate"], {"study": study, **options}, progress, binary)
    return found
