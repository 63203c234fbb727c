"""Key padding: which keys of each batch element are filler."""

from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Padding:
    """The number of real keys of each batch element, and the side on which filler makes up the rest."""

    side: Literal["left", "right"]
    valid: tuple[int, ...]

    def mask(self, S: int) -> np.ndarray:
        """Return bool (B, S) in nn.MultiheadAttention's polarity: true is ignored."""
        valid = np.array(self.valid)[:, None]
        if self.side == "left":
            return np.arange(S) < S - valid
        return np.arange(S) >= valid


def left(*valid: int) -> Padding:
    """Return padding before the real keys, as batched generation has it."""
    return Padding("left", valid)


def right(*valid: int) -> Padding:
    """Return padding after the real keys, as batches of sentences have it."""
    return Padding("right", valid)
