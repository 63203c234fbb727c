"""Conversion between NumPy arrays and torch tensors of a given precision."""

import numpy as np

from pyref.build.pinned_torch import torch
from pyref.ops.operation import Arrays, Precision


def to_torch(arrays: Arrays, precision: Precision) -> dict[str, torch.Tensor]:
    """Copy arrays to tensors: floats in `precision`, bools and integers unchanged.

    Names that share an array share the tensor, so that `key is value` stays true.
    """
    tensors = {id(array): convert(array, precision) for array in arrays.values()}
    return {name: tensors[id(array)] for name, array in arrays.items()}


def convert(array: np.ndarray, precision: Precision) -> torch.Tensor:
    """Return a copy in `precision`, or one of bools or int64 unchanged; uint16 means bfloat16."""
    tensor = torch.from_numpy(array.copy())
    if array.dtype in (np.bool_, np.int64):
        return tensor
    if array.dtype == np.uint16:
        tensor = tensor.view(torch.bfloat16)
    return tensor.to(getattr(torch, precision))


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Return a tensor as an array; bfloat16 becomes its bits in uint16."""
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.view(torch.uint16)
    return tensor.numpy()


def stored(array: np.ndarray, precision: Precision) -> np.ndarray:
    """Return a float array rounded to the precision of the file."""
    return to_numpy(torch.from_numpy(array).to(getattr(torch, precision)))
