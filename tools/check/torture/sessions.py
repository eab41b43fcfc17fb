"""A session's arrays: each call that writes fails once, or from there on, and the requests around it come out as they
do undisturbed."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

from tools.check.torture.attempts import PATIENCE, Row, Torture
from tools.check.torture.faults import IO_ERROR, NO_SPACE, STAYS_EVERY
from tools.check.writers import ENVIRONMENT
from tools.common.trial import Failure

# Requests of one session, each of which writes.
ASKED = (
    {"sites": ["mlp:lang.1"], "max_tokens": 4},
    {"lens": {"top": 3}, "max_tokens": 2},
    {"sites": ["mlp"], "lens": {}, "max_tokens": 1},
)
# What an answer is, but for the moment and the folder that it was made in.
CHANGES = {"timings", "folder"}


def names(arch: str) -> list[str]:
    return ["session"]


def run(torture: Torture, row: Row) -> None:
    undisturbed, calls, _ = ask(torture, "0", NO_SPACE)
    if bad := [event for event in undisturbed.values() if event["event"] != "done"]:
        raise Failure(f"undisturbed: {bad}")
    for at in range(1, calls + 1):
        error = (NO_SPACE, IO_ERROR)[at % 2]
        row.attempt(f"call {at} of {calls}, errno {error}", lambda at=at, error=error: fail(
            torture, undisturbed, str(at), error))
        if at % STAYS_EVERY == 0:
            row.attempt(f"call {at} of {calls}, stays", lambda at=at: fail(torture, undisturbed, str(-at), NO_SPACE))


def fail(torture: Torture, undisturbed: dict, place: str, error: int) -> str:
    found, _, failures = ask(torture, place, error)
    if not found:
        return "not begun"
    wrong = [number for number, event in found.items() if event != undisturbed[number]]
    for number in wrong:
        event = found[number]
        if event["event"] != "error":
            raise Failure(f"request {number}: {event}, not {undisturbed[number]}")
        if str(torture.work) not in event["message"]:
            raise Failure(f"request {number}: names no file: {event}")
    if not place.startswith("-") and len(wrong) > 1:
        raise Failure(f"one call failed, and {len(wrong)} requests did")
    return f"{len(wrong)} requests told" if wrong else "without harm" if failures else "not reached"


def ask(torture: Torture, place: str, error: int) -> tuple[dict, int, int]:
    """What became of each request, how many calls wrote and how many of them failed; no request where the session
    could not begin, and said so.

    Raises: Failure.
    """
    scratch, total = torture.work / "scratch", torture.work / "total"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    total.unlink(missing_ok=True)
    requests = [{"op": "run", "id": number, "image": str(torture.picture), "prompt": "What is this?", **more}
                for number, more in enumerate(ASKED)]
    process = subprocess.Popen(
        [torture.mmq, "session", "--model", torture.model, "--scratch", scratch], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT | {
            "LD_PRELOAD": str(torture.library), "MMQ_FAULT_AT": place, "MMQ_FAULT_ERRNO": str(error),
            "MMQ_FAULT_TOTAL": str(total)})
    found = {}
    try:
        for request in requests:
            process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        for line in process.stdout:
            event = json.loads(line)
            if "id" in event:
                found[event["id"]] = told(event)
            if len(found) == len(requests) and not process.stdin.closed:
                process.stdin.close()  # what it wrote is gone with it
        code = process.wait(PATIENCE)
    except (OSError, ValueError, subprocess.TimeoutExpired) as problem:
        process.kill()
        raise Failure(f"{problem}: {process.stderr.read()[-300:]}") from None
    errors = process.stderr.read()
    if not found and code == 1 and str(torture.work) in errors:
        return {}, 0, 0
    if code:
        raise Failure(f"exit code {code}: {errors[-300:]}")
    if len(found) != len(requests):
        raise Failure(f"{len(found)} of {len(requests)} requests were answered")
    calls, failures = map(int, total.read_text().split())
    if left := [path.name for path in scratch.iterdir()]:
        # A folder that could not be removed is no loss; files in it are.
        if failures == 0 or any(file.is_file() for file in scratch.rglob("*")):
            raise Failure(f"left: {left}")
    return found, calls, failures


def told(event: dict) -> dict:
    """An event with what its files hold in place of their names."""
    def seen(value):
        if isinstance(value, dict):
            return {key: digest(entry) if key == "file" else seen(entry) for key, entry in value.items()
                    if key not in CHANGES}
        return [seen(entry) for entry in value] if isinstance(value, list) else value

    return seen(event)


def digest(file: str) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()
