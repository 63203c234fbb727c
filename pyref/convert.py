"""NumPy arrays as torch tensors of the dtype to compute in."""

import numpy as np

from pyref.case import Arrays
from pyref.pinned import torch


def to_torch(arrays: Arrays, dtype: type[np.floating]) -> dict[str, torch.Tensor]:
    """Copy arrays to tensors, floats converted to `dtype`, bools as they are.

    Names that share an array share the tensor, so that `key is value` stays true.
    """
    copies = {id(array): torch.from_numpy(convert(array, dtype)) for array in arrays.values()}
    return {name: copies[id(array)] for name, array in arrays.items()}


def convert(array: np.ndarray, dtype: type[np.floating]) -> np.ndarray:
    """Return a copy in `dtype`, unless the array is bool."""
    return array.copy() if array.dtype == np.bool_ else array.astype(dtype)
