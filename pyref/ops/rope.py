"""Rotary position embedding (Su et al., "RoFormer", 2021), for which PyTorch has no function."""

from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from pyref.build.pinned_torch import torch


@dataclass(frozen=True, kw_only=True)
class Rope:
    """Rotates pairs of a head's first `dim` features by angles that grow with the position.

    `style` chooses the pairs. "half" pairs feature i with i + dim/2, as Hugging Face transformers
    and GPT-NeoX do. "interleaved" pairs 2i with 2i + 1, as the paper, Meta's Llama and GPT-J do.
    `factor` divides the positions (linear position interpolation, Chen et al., 2023).
    """

    style: Literal["half", "interleaved"] = "half"
    dim: int
    base: float = 10000
    factor: float = 1

    @property
    def config(self) -> dict:
        """The fields of `rope` in case.json."""
        return asdict(self)

    def rotate(self, x: torch.Tensor, first: int) -> torch.Tensor:
        """Rotate the T vectors of x (B, H, T, E) by the positions first, first + 1, and so on."""
        rotary, rest = x[..., : self.dim], x[..., self.dim :]
        pairs = (2, -1) if self.style == "half" else (-1, 2)
        axis = pairs.index(2) - 2
        x1, x2 = rotary.unflatten(-1, pairs).unbind(axis)
        angles = self.angles(x.shape[-2], first, x.dtype)
        cos, sin = angles.cos(), angles.sin()
        rotated = torch.stack([x1 * cos - x2 * sin, x2 * cos + x1 * sin], dim=axis).flatten(-2)
        return torch.cat([rotated, rest], dim=-1)

    def angles(self, length: int, first: int, dtype: torch.dtype) -> torch.Tensor:
        """Return (T, dim/2): pair i at position t has the angle t / factor * base^(-2i/dim)."""
        positions = torch.arange(first, first + length, dtype=dtype) / self.factor
        frequencies = self.base ** (-torch.arange(0, self.dim, 2, dtype=dtype) / self.dim)
        return positions.outer(frequencies)


def interleaved_to_half(weight: np.ndarray, num_heads: int) -> np.ndarray:
    """Reorder the rows of a projection (H*E, D) from interleaved pairs to pairs i, i + E/2.

    With the result, style "half" gives the same scores as "interleaved" gives with `weight`. This
    is `permute` of convert_llama_weights_to_hf.py in Hugging Face transformers.
    """
    width = weight.shape[-1]
    return weight.reshape(num_heads, -1, 2, width).swapaxes(1, 2).reshape(-1, width)
