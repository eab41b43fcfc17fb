"""How the reference is run: the same numbers each time."""

import torch
import transformers


def settle() -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.utils.logging.disable_progress_bar()
