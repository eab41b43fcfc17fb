"""Times a converted model: 512 tokens of prompt, 32 of answer, and what counting adds.

    python3 tools/bench model [--model DIR] [--mmq .build/release/mmq]

Without --model it takes the tiny demo model, which says little about speed.
"""

import subprocess
from pathlib import Path

from tools.common.commands import output_of, parser
from tools.common.paths import GOLDEN, MMQ, ROOT


def main() -> int:
    given = parser(__doc__)
    given.add_argument("--model", type=Path)
    given.add_argument("--mmq", type=Path, default=MMQ)
    options = given.parse_args()
    model = options.model or ROOT / ".build" / "demo" / "model"
    if options.model is None and not model.is_dir():
        output_of([options.mmq, "convert", GOLDEN / "llava-next" / "hub-f16" / "checkpoint", "--output", model])
    return subprocess.run([options.mmq, "bench", "--model", model, "-p", "512", "-n", "32", "--counting"]).returncode
