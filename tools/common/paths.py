"""Where things lie, from whatever folder a tool is called."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "Tests" / "Golden"
DEMO = ROOT / "models" / "demo"
MMQ = Path(os.environ.get("MMQ", ROOT / ".build" / "release" / "mmq"))
