"""The project's Python tools; `tools/README.md` says what each folder is for and how it is called."""

import os

# transformers is to take what lies on the disk, and to be quiet about it.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
