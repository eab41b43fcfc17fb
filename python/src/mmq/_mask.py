"""What happens to neurons."""

import json
import math
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Union

import numpy as np

from ._errors import MmqError

_Layers = Mapping[str, int]


class Intervention:
    """What becomes of an activation `a` of a neuron: scale × a + shift, in 32-bit floats, rounded once.

    Args:
        scale: a factor without unit; 0 switches the neuron off, or holds it at `shift`.
        shift: what is added, in the activation's own unit.
    """

    __slots__ = ("scale", "shift")

    def __init__(self, scale: float = 1.0, shift: float = 0.0) -> None:
        if not (math.isfinite(scale) and math.isfinite(shift)):
            raise MmqError(f"an intervention needs finite numbers, not scale {scale} and shift {shift}")
        self.scale = float(scale)
        self.shift = float(shift)

    @classmethod
    def off(cls) -> "Intervention":
        """The activation becomes 0."""
        return cls(0.0, 0.0)

    @classmethod
    def hold(cls, value: float) -> "Intervention":
        """The activation becomes `value`, whatever it was."""
        return cls(0.0, value)

    def __repr__(self) -> str:
        return f"Intervention(scale={self.scale}, shift={self.shift})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Intervention) and (self.scale, self.shift) == (other.scale, other.shift)

    def __hash__(self) -> int:
        return hash((self.scale, self.shift))


class Mask:
    """Neurons and what becomes of them, in any number of modules and layers.

        mask = Mask().off("lang", 5, [12, 40]).set("vision", 0, [3], Intervention(scale=0.5))

    A neuron that is named again gets the later intervention. Layers that are not named are left alone.
    """

    def __init__(self) -> None:
        self._edits: Dict[str, Dict[int, Dict[int, Intervention]]] = {}

    @classmethod
    def from_lists(cls, neurons: Mapping[str, Sequence[Iterable[int]]]) -> "Mask":
        """Neurons that are off: for each module one list of indices per layer, as `Study.neurons` has them."""
        mask = cls()
        for module, layers in neurons.items():
            for layer, indices in enumerate(layers):
                mask.off(module, layer, indices)
        return mask

    def off(self, module: str, layer: int, neurons: Iterable[int]) -> "Mask":
        """Switches neurons of a layer off; gives the mask back."""
        return self.set(module, layer, neurons, Intervention.off())

    def set(self, module: str, layer: int, neurons: Iterable[int], intervention: Intervention) -> "Mask":
        """Does something else to neurons of a layer; gives the mask back."""
        if layer < 0:
            raise MmqError(f"module {module}: layers are counted from 0, not {layer}")
        edits = self._edits.setdefault(module, {}).setdefault(int(layer), {})
        for neuron in _indices(neurons, f"module {module}, layer {layer}"):
            edits[neuron] = intervention
        return self

    def __len__(self) -> int:
        return sum(len(edits) for layers in self._edits.values() for edits in layers.values())

    def document(self, layers: _Layers) -> Dict[str, List[Any]]:
        """The mask as mmq's mask files have it.

        Args:
            layers: how many layers each module has (`{name: shape.layers}` of `Model.modules`).

        Raises:
            MmqError: a module that is not there, or a layer beyond its last.
        """
        found: Dict[str, List[Any]] = {}
        for module, edits in self._edits.items():
            if module not in layers:
                raise MmqError(f"mask: module {module}: expected one of the modules {', '.join(layers)}, found "
                               f"{module}")
            if edits and max(edits) >= layers[module]:
                raise MmqError(f"mask: module {module}: expected layers in 0..<{layers[module]}, found {max(edits)}")
            found[module] = [self._layer(edits.get(layer, {})) for layer in range(layers[module])]
        return found

    @staticmethod
    def _layer(edits: Mapping[int, Intervention]) -> Union[List[int], Dict[str, List[Any]]]:
        if all(edit == Intervention.off() for edit in edits.values()):
            return sorted(edits)
        neurons = sorted(edits)
        return {"neurons": neurons, "scale": [edits[n].scale for n in neurons],
                "shift": [edits[n].shift for n in neurons]}

    def save(self, path: str, layers: _Layers) -> None:
        """Writes a mask file, as `mmq ask --mask` takes it; `layers` as for `document`."""
        document = json.dumps(self.document(layers))
        with open(path, "w", encoding="utf-8") as file:
            file.write(document)


def _indices(neurons: Any, what: str) -> List[int]:
    """Neurons as numbers: given as such, or as an array that is True where one is meant."""
    try:
        given = neurons if hasattr(neurons, "dtype") else list(neurons)
        array = np.asarray(given)
    except (TypeError, ValueError) as error:  # a number, lists of several lengths
        raise MmqError(f"{what}: neurons are a list of whole numbers, or one of bools: {error}") from error
    if array.size == 0:
        return []
    if array.ndim == 1 and array.dtype == np.bool_:
        return [int(place) for place in np.flatnonzero(array)]
    if array.ndim == 1 and np.issubdtype(array.dtype, np.integer):
        if given is not neurons and any(isinstance(one, (bool, np.bool_)) for one in given):
            raise MmqError(f"{what}: neurons are whole numbers or bools, not both")
        if array.min() < 0:
            raise MmqError(f"{what}: neurons are counted from 0, not {array.min()}")
        return [int(place) for place in array]
    raise MmqError(f"{what}: neurons are a list of whole numbers, or one of bools, not {array.dtype} "
                   f"{list(array.shape)}")


def _layer(layer: Any, what: str) -> Any:
    """A layer of a mask that was given as a dictionary."""
    if not isinstance(layer, Mapping):
        return _indices(layer, what)
    return {**layer, "neurons": _indices(layer["neurons"], what)} if "neurons" in layer else layer


def as_request(mask: Any, layers: _Layers) -> Optional[Any]:
    """A mask as a session's request has it: a path or setting as a text, all else as a document."""
    if mask is None or isinstance(mask, str):
        return mask
    if isinstance(mask, Mask):
        return mask.document(layers)
    if isinstance(mask, Mapping):
        for name, lists in mask.items():
            if isinstance(lists, (str, Mapping)) or not isinstance(lists, Iterable):
                raise MmqError(f"mask: module {name}: expected a list for each layer, found a {type(lists).__name__}")
        return {str(name): [_layer(layer, f"module {name}, layer {place}") for place, layer in enumerate(lists)]
                for name, lists in mask.items()}
    if hasattr(mask, "__fspath__"):
        return mask.__fspath__()
    raise MmqError(f"a mask is a Mask, a path, a setting or a dictionary of lists, not {type(mask).__name__}")
