"""The notebook of examples/ and the script it is made from."""

import json
import subprocess
import sys
import unittest

from .support import ROOT


class Notebook(unittest.TestCase):
    @unittest.skipIf(sys.version_info < (3, 11), "tools/ needs Python 3.11")
    def test_it_says_what_the_script_does(self) -> None:
        told = subprocess.run([sys.executable, ROOT / "tools/check", "notebook", "--source"], capture_output=True,
                              text=True)
        self.assertEqual(told.returncode, 0, told.stdout + told.stderr)

    def test_its_outputs_are_there(self) -> None:
        text = (ROOT / "examples/demo.ipynb").read_text(encoding="utf-8")
        self.assertLess(len(text.encode()), 400_000)
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
        self.assertEqual([cell["execution_count"] for cell in cells], list(range(1, len(cells) + 1)))
        outputs = [output for cell in cells for output in cell["outputs"]]
        self.assertFalse([output for output in outputs if output["output_type"] == "error"])
        self.assertGreaterEqual(sum("image/png" in output.get("data", {}) for output in outputs), 5)
