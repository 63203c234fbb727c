"""Key padding: which keys of each batch element are filler."""

from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Padding:
    """`valid` is the number of real keys of each batch element, `side` the side of the filler."""

    side: Literal["left", "right"]
    valid: tuple[int, ...]

    def mask(self, seq_kv: int) -> np.ndarray:
        """Return bool (B, S), true for filler, as in nn.MultiheadAttention's key_padding_mask."""
        valid = np.array(self.valid)[:, None]
        if self.side == "left":
            return np.arange(seq_kv) < seq_kv - valid
        return np.arange(seq_kv) >= valid


def left(*valid: int) -> Padding:
    """Return padding before the real keys, as in batched generation."""
    return Padding("left", valid)


def right(*valid: int) -> Padding:
    """Return padding after the real keys, as in batches of sentences."""
    return Padding("right", valid)
