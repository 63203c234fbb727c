"""Random tensors whose bits depend on a seed and a name alone.

The generator is NumPy's counter-based Philox (Salmon et al., "Parallel random numbers: as easy as
1, 2, 3", 2011). All arithmetic after it is exact on integers, with one rounding at the end. NumPy's
own `normal` would call the C library for the tails.
"""

import hashlib
import math
from dataclasses import dataclass

import numpy as np

UNIFORMS = 12  # a sum of 12 uniforms, each of variance 1/12, has variance 1


@dataclass(frozen=True)
class Stream:
    """The random numbers of one case. Every tensor has its own key, so no tensor moves another."""

    seed: int

    def normal(
        self,
        name: str,
        shape: tuple[int, ...],
        std: float | np.ndarray = 1.0,
        dtype: type[np.floating] = np.float32,
    ) -> np.ndarray:
        """Return values of mean 0 and the given standard deviation, at most 6 deviations from 0.

        The sum of 12 uniforms (Irwin-Hall) is centred and divided by 2^32 without rounding. The
        product with `std` is rounded to float64, then to `dtype`.
        """
        sums = self.words(name, (*shape, UNIFORMS)).astype(np.int64).sum(axis=-1)
        doubled = 2 * sums - UNIFORMS * (2**32 - 1)
        return (doubled / 2**33 * std).astype(dtype)

    def chance(self, name: str, shape: tuple[int, ...], probability: float) -> np.ndarray:
        """Return bools that are true with the given probability."""
        return self.words(name, shape) < int(probability * 2**32)

    def words(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Return uniform uint32 values: the low half of each 64-bit word, then its high half."""
        key = np.array([self.seed, digest(name, 8)], dtype=np.uint64)
        count = math.prod(shape)
        raw = np.random.Philox(key=key).random_raw((count + 1) // 2)
        return raw.astype("<u8").view("<u4")[:count].reshape(shape)


def digest(name: str, size: int) -> int:
    """Return the first `size` bytes of the name's sha256 as an unsigned integer."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:size], "big")
