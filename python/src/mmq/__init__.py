"""Vision-language models on a CPU, neuron by neuron.

`Model` keeps a model open, answers questions about pictures and hands out MLP activations, and what the logit lens
sees, as numpy arrays; `Mask` says which neurons are off, `Intervention` what else becomes of them; `Study` reads
counts, neuron sets, answers and scores; `activations` writes activation values over a bench and `Activations` reads
them; `convert`, `activation`, `identify`, `generate`, `evaluate` and `export` run mmq's commands.

A neuron is one output of an MLP's activation function: SiLU(gate) in the decoder, before the product with up, GELU's
output elsewhere. It is named by module (`lang`, `vision`, ...), layer and index, all counted from 0.
"""

from pathlib import Path

from ._activations import Activations, activations
from ._binary import find_binary
from ._commands import Progress, activation, convert, evaluate, generate, identify
from ._errors import MmqError, SessionEnded
from ._export import export
from ._lens import Lens
from ._mask import Intervention, Mask
from ._model import Model, ModuleShape, Result, Stream, Token
from ._study import Answer, Counts, Study

__all__ = [
    "Activations", "Answer", "Counts", "Intervention", "Lens", "Mask", "MmqError", "Model", "ModuleShape", "Progress",
    "Result", "SessionEnded", "Stream", "Study", "Token", "activation", "activations", "convert", "evaluate", "export",
    "find_binary", "generate", "identify",
]
__version__ = (Path(__file__).parent / "VERSION").read_text().strip()
