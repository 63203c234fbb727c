"""NumPy arrays as torch tensors of the precision to compute in, and back."""

import numpy as np

from pyref.case import Arrays, Precision
from pyref.pinned import torch


def to_torch(arrays: Arrays, precision: Precision) -> dict[str, torch.Tensor]:
    """Copy arrays to tensors, floats converted to `precision`, bools as they are.

    Names that share an array share the tensor, so that `key is value` stays true.
    """
    copies = {id(array): convert(array, precision) for array in arrays.values()}
    return {name: copies[id(array)] for name, array in arrays.items()}


def convert(array: np.ndarray, precision: Precision) -> torch.Tensor:
    """Return a copy in `precision`, unless the array is bool; uint16 is the bits of bfloat16."""
    tensor = torch.from_numpy(array.copy())
    if array.dtype == np.bool_:
        return tensor
    if array.dtype == np.uint16:
        tensor = tensor.view(torch.bfloat16)
    return tensor.to(getattr(torch, precision))


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Return a tensor's values; those of bfloat16 as their bits."""
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.view(torch.uint16)
    return tensor.numpy()


def store(array: np.ndarray, precision: Precision) -> np.ndarray:
    """Return a float array rounded to the precision that it is stored in."""
    return to_numpy(torch.from_numpy(array).to(getattr(torch, precision)))
