"""What each layer of the decoder would say."""

from dataclasses import dataclass
from typing import Any, Dict, List, Tuple

import numpy as np

from . import _safetensors
from ._errors import MmqError
from ._session import Event


@dataclass(frozen=True)
class Lens:
    """The logit lens over a picture and a prompt: softmax(head(norm(output of a layer))) at every position, as
    `mmq logit-lens` has it. The last layer's is the model's own distribution of the next token.

    Attributes:
        part: what of each layer was read: `block`, or what `attention` or `mlp` alone adds.
        prompt_ids: int32 [positions], the prompt's tokens.
        is_image: bool [positions], which of them are the picture's.
        top_ids: int32 [layers, positions, top], the most probable tokens, most probable first; -1 where the vocabulary
            has no more.
        top_probabilities: float32 [layers, positions, top], 0 to 1.
        entropies: float32 [layers, positions], in nats.
        divergences: float32 [layers, positions], KL(last layer ‖ layer) in nats; 0 at the last block.
        words: how the vocabulary spells each token that is named here, `▁` standing for a space.

    Arrays are read-only and mapped from a file that is deleted already.
    """

    part: str
    prompt_ids: "np.ndarray[Any, np.dtype[np.int32]]"
    is_image: "np.ndarray[Any, np.dtype[np.bool_]]"
    top_ids: "np.ndarray[Any, np.dtype[np.int32]]"
    top_probabilities: "np.ndarray[Any, np.dtype[np.float32]]"
    entropies: "np.ndarray[Any, np.dtype[np.float32]]"
    divergences: "np.ndarray[Any, np.dtype[np.float32]]"
    words: Dict[int, str]

    @property
    def layers(self) -> int:
        """How many layers there are."""
        return int(self.top_ids.shape[0])

    @property
    def positions(self) -> int:
        """How many tokens the prompt has, the picture's included."""
        return int(self.top_ids.shape[1])

    def says(self, layer: int, position: int = -1) -> List[Tuple[str, float]]:
        """What a layer would say next at a position.

        Args:
            layer: counted from 0; from the end if negative.
            position: of the prompt, alike; the last one if not said, where the answer begins.

        Returns:
            words and their probabilities (0 to 1), most probable first.
        """
        for name, index, count in (("layer", layer, self.layers), ("position", position, self.positions)):
            if not -count <= index < count:
                raise MmqError(f"lens: expected a {name} in {-count}..<{count}, found {index}")
        return [(self.words[int(token)], float(share))
                for token, share in zip(self.top_ids[layer, position], self.top_probabilities[layer, position])
                if token >= 0]

    @classmethod
    def _of(cls, event: Event, image_token: int) -> "Lens":
        """That of a `done`, whose files the caller removes."""
        told = event["lens"]
        arrays = _safetensors.read(told["file"])
        ids = np.array(event["prompt_ids"], np.int32)
        return cls(told["part"], ids, ids == image_token, arrays["top_ids"], arrays["top_probabilities"],
                   arrays["entropies"], arrays["divergences"],
                   {int(token): word for token, word in told["words"].items()})
