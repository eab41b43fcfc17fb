"""Two processes on one output, and a time of day that runs back."""

import time

from tools.check.torture.attempts import Row, Torture
from tools.check.writers import WRITERS
from tools.common.trial import Failure


class Two:
    """Two processes on one output: each ends well or is told so, and the result is that of one."""

    @staticmethod
    def names(arch: str) -> list[str]:
        return list(WRITERS)

    @staticmethod
    def run(torture: Torture, row: Row) -> None:
        name = row.what
        for number in range(torture.options.rounds // 5 + 1):
            starts = torture.starts(name)
            start = starts[number % len(starts)]
            torture.expected(name, start)
            row.attempt(f"round {number}, {start}", lambda start=start: Two.both(torture, name, start))

    @staticmethod
    def both(torture: Torture, name: str, start: str) -> str:
        torture.begin(name, start)
        results = []

        def second(process) -> None:
            time.sleep(torture.random.random() * 0.1)
            results.append(torture.run(torture.words(name)))

        results.append(torture.run(torture.words(name), meanwhile=second))
        for result in results:
            result.expect_well()
        if all(result.code for result in results):
            raise Failure("both failed: " + "; ".join(result.says for result in results))
        torture.compare(name, start)
        return "one refused" if any(result.code for result in results) else "one after the other"


class Clock:
    """The time of day runs backwards: nothing but dates may depend on it."""

    @staticmethod
    def names(arch: str) -> list[str]:
        return list(WRITERS)

    @staticmethod
    def run(torture: Torture, row: Row) -> None:
        for start in torture.starts(row.what):
            torture.expected(row.what, start)

            def attempt(start=start) -> str:
                torture.begin(row.what, start)
                result = torture.run(torture.words(row.what), {"MMQ_CLOCK_BACK": "3600"})
                result.expect_well()
                if result.code:
                    raise Failure(result.says)
                torture.compare(row.what, start)
                return "same result"

            row.attempt(start, attempt)
