"""Random parameters for a layer, named and shaped by the layer itself."""

import math

import numpy as np

from pyref.case import Arrays
from pyref.pinned import torch
from pyref.stream import Stream

BIAS_STD = 0.1  # PyTorch starts the multi-head biases at zero, which would hide every mistake with a bias
SCORING = ("q_proj_weight", "k_proj_weight", "bias_k", "W_Q", "W_K")  # weights of query and key, and keys


def draw(layer: torch.nn.Module, stream: Stream, weight_std: float | None) -> Arrays:
    """Return a float32 array for each key of the layer's state dict, in its order.

    The weights of query and key have a standard deviation of 1/sqrt(fan in): with inputs of unit variance
    that makes scores of a standard deviation near 1. Those of value and output have 1/sqrt(3 fan in), as
    torch.nn.Linear draws them, so that the output is a few tenths, as in a model. A `weight_std` is that of
    every parameter instead, biases too.
    """
    return {
        name: stream.normal(name, tuple(parameter.shape), std(name, parameter, weight_std))
        for name, parameter in layer.state_dict().items()
    }


def std(name: str, parameter: torch.Tensor, weight_std: float | None) -> float | np.ndarray:
    """Return the standard deviation to draw a weight (out, in) or a bias (out,) with, or one for each row.

    The learned key and value bias_k and bias_v (1, 1, D) are as large as projected ones: their fan in is 1.
    """
    if weight_std:
        return weight_std
    if parameter.ndim == 1:
        return BIAS_STD
    fan_in = parameter.shape[1]
    scoring, others = 1 / math.sqrt(fan_in), 1 / math.sqrt(3 * fan_in)
    if name == "in_proj_weight":
        return np.repeat([scoring, scoring, others], fan_in)[:, None]
    return scoring if name in SCORING else others
