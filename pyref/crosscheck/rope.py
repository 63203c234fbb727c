"""Rotary positions as a multiplication of complex numbers."""

import numpy as np


def rotate(
    x: np.ndarray, positions: np.ndarray, style: str, dim: int, base: float, factor: float
) -> np.ndarray:
    """Rotate pairs of the first `dim` features of x (B, T, heads, E) by their positions' angles."""
    halves = (slice(dim // 2), slice(dim // 2, dim))
    neighbours = (slice(0, dim, 2), slice(1, dim, 2))
    real, imaginary = halves if style == "half" else neighbours
    speeds = np.exp(-np.log(base) * 2 * np.arange(dim // 2) / dim) / factor
    turns = np.exp(1j * np.outer(positions, speeds))[:, None, :]
    turned = (x[..., real] + 1j * x[..., imaginary]) * turns
    result = x.copy()
    result[..., real], result[..., imaginary] = turned.real, turned.imag
    return result
