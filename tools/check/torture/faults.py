"""Every call that writes fails, each once, and of every fourth all that follow too."""

from tools.check.torture.attempts import Row, Torture
from tools.check.writers import WRITERS
from tools.common.trial import Failure

NO_SPACE, IO_ERROR = 28, 5
# A disk that stays full: after one of so many calls.
STAYS_EVERY = 4


def names(arch: str) -> list[str]:
    return list(WRITERS)


def run(torture: Torture, row: Row) -> None:
    name = row.what
    for start in torture.starts(name):
        torture.expected(name, start)
        count, _ = disturb(torture, name, start, "0", NO_SPACE)
        most = min(torture.options.writes or count, count)
        chosen = sorted({round(1 + i * (count - 1) / max(1, most - 1)) for i in range(most)})
        for number, at in enumerate(chosen):
            # Alternately: one more of each position would tell little and take as long again.
            tries = [(str(at), (NO_SPACE, IO_ERROR)[number % 2])]
            if number % STAYS_EVERY == 0:
                tries.append((str(-at), NO_SPACE))
            for place, error in tries:

                def attempt(place=place, error=error, start=start):
                    return fail_once(torture, name, start, place, error)

                stays = ", stays" if place.startswith("-") else ""
                row.attempt(f"{start}, call {at} of {count}, errno {error}{stays}", attempt)


def disturb(torture: Torture, name: str, start: str, place: str, error: int):
    """Runs the command from its start with a failing write: how many calls wrote, and the result of the run with the
    number of failures."""
    total = torture.work / "total"
    total.unlink(missing_ok=True)
    torture.begin(name, start)
    result = torture.run(
        torture.words(name),
        {"MMQ_FAULT_AT": place, "MMQ_FAULT_ERRNO": str(error), "MMQ_FAULT_TOTAL": str(total)})
    result.expect_well()
    if not total.exists():
        raise Failure(f"the library was not loaded: {result.says}")
    calls, failures = map(int, total.read_text().split())
    return calls, (result, failures)


def fail_once(torture: Torture, name: str, start: str, place: str, error: int) -> str:
    _, (result, failures) = disturb(torture, name, start, place, error)
    if result.code == 0:
        torture.compare(name, start)
        return "without harm" if failures else "not reached"
    if not failures:
        raise Failure(f"nothing failed, and {result.says}")
    if result.code != 1:
        raise Failure(result.says)
    if str(torture.work).encode() not in result.errors:
        raise Failure(f"names no file: {result.says}")
    left = torture.look(name, start)
    torture.run_to_end(name, start)
    return f"error{', ' + ' '.join(left) + ' left' if left else ''}, then whole"
