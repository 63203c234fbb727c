"""Rotary position embedding (Su et al., "RoFormer", 2021), for which PyTorch has no function."""

from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from pyref.pinned import torch


@dataclass(frozen=True, kw_only=True)
class Rope:
    """Rotates pairs of a head's first `dim` features by angles that grow with the position.

    `style` says which features are a pair: "half" i and i + dim/2, as in Hugging Face transformers and
    GPT-NeoX; "interleaved" 2i and 2i + 1, as in the paper, Meta's Llama and GPT-J. `factor` divides the
    positions (linear position interpolation, Chen et al. 2023).
    """

    style: Literal["half", "interleaved"] = "half"
    dim: int
    base: float = 10000
    factor: float = 1

    @property
    def config(self) -> dict:
        """The fields as case.json has them."""
        return asdict(self)

    def rotate(self, x: torch.Tensor, first: int) -> torch.Tensor:
        """Return x (B, H, T, E) with its T vectors rotated for the positions first, first + 1, and so on."""
        rotary, rest = x[..., : self.dim], x[..., self.dim :]
        pairs = (2, -1) if self.style == "half" else (-1, 2)
        axis = pairs.index(2) - 2
        x1, x2 = rotary.unflatten(-1, pairs).unbind(axis)
        angles = self.angles(x.shape[-2], first, x.dtype)
        cos, sin = angles.cos(), angles.sin()
        rotated = torch.stack([x1 * cos - x2 * sin, x2 * cos + x1 * sin], dim=axis).flatten(-2)
        return torch.cat([rotated, rest], dim=-1)

    def angles(self, T: int, first: int, dtype: torch.dtype) -> torch.Tensor:
        """Return (T, dim/2): the angle of pair i at position t is t / factor * base^(-2i/dim)."""
        positions = torch.arange(first, first + T, dtype=dtype) / self.factor
        frequencies = self.base ** (-torch.arange(0, self.dim, 2, dtype=dtype) / self.dim)
        return positions.outer(frequencies)


def paired_by_half(weight: np.ndarray, H: int) -> np.ndarray:
    """Return a projection (H*E, D) whose interleaved pairs of rows are pairs i, i + E/2 of its head.

    With it, "half" gives the scores that "interleaved" gives with the given weight: it is `permute` of
    convert_llama_weights_to_hf.py in Hugging Face transformers.
    """
    width = weight.shape[-1]
    return weight.reshape(H, -1, 2, width).swapaxes(1, 2).reshape(-1, width)
