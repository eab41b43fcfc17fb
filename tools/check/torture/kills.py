"""SIGKILL at random moments, and at calls that write."""

from tools.check.kill import Killer
from tools.check.torture.attempts import Row, Torture
from tools.check.writers import WRITERS
from tools.common.families import CHECKPOINTS

# Samples of the bench's splits: enough for a run to be stopped on the way.
SIZE = (60, 16)


def names(arch: str) -> list[str]:
    return list(WRITERS)


def run(torture: Torture, row: Row) -> None:
    killer = Killer(torture, torture.random, torture.library)
    each = -(-torture.options.kills // (len(WRITERS) * len(CHECKPOINTS)))
    killer.check(row.what, each, row.found)
    row.count("at random moments", killer.at_moments)
    row.count("at a write", killer.at_writes)
    row.results["rounds" if killer.rounds != 1 else "round"] = killer.rounds
