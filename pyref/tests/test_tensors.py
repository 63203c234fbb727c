"""Tensors are converted copies, and names that share an array share the tensor."""

import numpy as np

from pyref.build.pinned_torch import torch
from pyref.ops.tensors import stored, to_numpy, to_torch


def test_floats_take_the_dtype_and_masks_stay_bool():
    tensors = to_torch({"x": np.zeros(2, np.float32), "mask": np.zeros(2, bool)}, "float64")
    assert (tensors["x"].dtype, tensors["mask"].dtype) == (torch.float64, torch.bool)


def test_names_that_share_an_array_share_the_tensor():
    x, equal = np.zeros(2, np.float32), np.zeros(2, np.float32)
    tensors = to_torch({"query": x, "key": x, "value": equal}, "float32")
    assert tensors["query"] is tensors["key"]
    assert tensors["query"] is not tensors["value"]


def test_tensors_are_copies():
    x = np.zeros(2, np.float32)
    to_torch({"x": x}, "float32")["x"].add_(1)
    assert x.tolist() == [0, 0]


def test_bfloat16_is_stored_as_its_bits():
    tie = 1 + 2**-8  # rounds to 1
    bits = stored(np.array([1, -2, tie], np.float32), "bfloat16")
    assert (bits.dtype, bits.tolist()) == (np.uint16, [0x3F80, 0xC000, 0x3F80])
    tensor = to_torch({"x": bits}, "float64")["x"]
    assert tensor.tolist() == [1, -2, 1]
    assert to_numpy(tensor.to(torch.bfloat16)).tolist() == bits.tolist()
