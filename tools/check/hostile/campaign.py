"""Text that would command a terminal, a page or a shell, in every place that a file or a path has for text, through
every command; then the report and the page of `mmq explore` in a headless Chromium.

    python3 tools/check text [--mmq .build/release/mmq] [--shots DIR]

Questions, answers, kinds of question, identifiers, names of pictures, pieces of the vocabulary, metadata, names of
folders and files hold markup that would run a script, escapes, C1 and bidirectional controls. A study is made of them
from the first command to the report, all well; then files that are refused, and a study with such text in each of its
columns. What reaches stdout, stderr and a terminal must show all of it and obey none. On the pages, where everything is
unfolded, pressed and chosen, no element of it may have come to be, nothing run, nothing fetched. Needs chromium and
chromedriver (Debian: chromium, chromium-driver), and selenium: where this Python has none, a virtual environment with
it is made in .build/selenium-venv. Exits with 3 where there is no Chromium, after all that needs none.
"""

import sys
import tempfile
from pathlib import Path

from tools.check.hostile.browser import Browser
from tools.check.hostile.study import HostileStudy
from tools.check.hostile.terminal import Terminal
from tools.check.hostile.texts import CHECKPOINTS
from tools.common.browser import is_there, with_selenium
from tools.common.commands import parser
from tools.common.paths import MMQ
from tools.common.trial import Failure


def main() -> int:
    given = parser(__doc__)
    given.add_argument("--arch", choices=CHECKPOINTS, help="default: all")
    given.add_argument("--mmq", type=Path, default=MMQ)
    given.add_argument("--shots", type=Path, help="keeps screenshots there")
    options = given.parse_args()
    if is_there():
        with_selenium("text")
    browser = Browser(options.shots) if is_there() else None
    terminal = Terminal(options.mmq.resolve())
    try:
        for arch in [options.arch] if options.arch else CHECKPOINTS:
            with tempfile.TemporaryDirectory() as work:
                study = HostileStudy(terminal, arch, Path(work))
                study.make()
                print(f"{arch}: every command, {terminal.runs} runs looked at, the text shown {terminal.seen} times",
                      flush=True)
                if browser:
                    browser.report(study.page)
                    browser.shoot(f"report-{arch}")
                    browser.explore(study)
                    print(f"{arch}: report and explore are well in the browser", flush=True)
                study.refused()
                print(f"{arch}: what is refused, {terminal.runs} runs", flush=True)
                reports = study.columns(lambda page: browser and browser.report(page, least=0))
                print(f"{arch}: every column of a study, {terminal.runs} runs, {reports} reports", flush=True)
    except Failure as failure:
        print(f"WRONG: {failure}", file=sys.stderr)
        return 1
    finally:
        if browser:
            browser.driver.quit()
    if not browser:
        print("no chromium and chromedriver here: the pages were not looked at", file=sys.stderr)
        return 3
    print("nothing wrong")
    return 0
