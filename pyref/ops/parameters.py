"""Random parameters for a layer, with the names and shapes of the layer's own state dict."""

import math

import numpy as np

from pyref.build.pinned_torch import torch
from pyref.build.rng import Stream
from pyref.ops.operation import Arrays

# PyTorch initialises these biases to zero, which would hide every mistake with a bias.
BIAS_STD = 0.1

# The weights that make scores, by name; bias_k is a learned key.
SCORING = ("q_proj_weight", "k_proj_weight", "bias_k", "W_Q", "W_K")


def draw(layer: torch.nn.Module, stream: Stream, weight_std: float | None) -> Arrays:
    """Return a float32 array for each entry of the layer's state dict, in its order.

    Query and key weights have the standard deviation 1/sqrt(fan in): inputs of unit variance then
    give scores of a standard deviation near 1. Value and output weights have 1/sqrt(3 fan in), as
    torch.nn.Linear draws them: outputs are then a few tenths, as in a model. `weight_std` overrides
    the standard deviation of every parameter, biases included.
    """
    return {
        name: stream.normal(name, tuple(parameter.shape), std(name, parameter, weight_std))
        for name, parameter in layer.state_dict().items()
    }


def std(name: str, parameter: torch.Tensor, weight_std: float | None) -> float | np.ndarray:
    """Return the standard deviation for a weight (out, in) or a bias (out,), perhaps one per row.

    The learned key and value, bias_k and bias_v (1, 1, D), have a fan in of 1. So they are as large
    as projected keys and values.
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
