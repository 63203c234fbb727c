"""Random parameters for a layer, named and shaped by the layer itself."""

import math

from pyref.case import Arrays
from pyref.pinned import torch
from pyref.stream import Stream

BIAS_STD = 0.3  # PyTorch starts the multi-head biases at zero, which would hide every mistake with a bias


def draw(layer: torch.nn.Module, stream: Stream, weight_std: float | None) -> Arrays:
    """Return a float32 array for each key of the layer's state dict, in its order.

    The weights' standard deviation is 1/sqrt(fan in) unless it is given. With inputs of unit variance that
    makes queries, keys and values of unit variance, and scores of a standard deviation near 1.
    """
    return {
        name: stream.normal(name, tuple(parameter.shape), std(parameter, weight_std))
        for name, parameter in layer.state_dict().items()
    }


def std(parameter: torch.Tensor, weight_std: float | None) -> float:
    """Return the standard deviation to draw a weight (out, in) or a bias (out,) with."""
    if parameter.ndim == 1:
        return BIAS_STD
    return weight_std or 1 / math.sqrt(parameter.shape[1])
