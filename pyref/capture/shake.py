"""Parameters drawn anew, so that a case sees a mistake in each of them.

A fresh model is blind: its norms multiply by one, its biases are zero, and its embeddings are so
large that no epsilon counts. A program that leaves any of these out passes.
"""

import copy
import math
from collections.abc import Iterator

import numpy as np
import torch

from pyref.build.rng import Stream

SPREAD = 0.2  # of the weights of norms and of biases
SMALL = 0.05  # the spread of embeddings: their variance is small enough for an epsilon to count


@torch.no_grad()
def shaken(module: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Return a copy of a module whose parameters depend on a seed and on their names alone.

    Tied parameters stay tied. Biases and statistics of batch norms among the buffers are drawn, too.
    """
    module, stream = copy.deepcopy(module), Stream(seed)
    for name, inner, tensor in tensors(module):
        values = drawn(name, inner, tuple(tensor.shape), stream)
        if values is not None:
            tensor.copy_(torch.from_numpy(values))
    return module


def tensors(module: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module, torch.Tensor]]:
    """Yield each distinct float tensor of the state dict with its first name and the module that owns it."""
    kept, seen = set(module.state_dict()), set()
    for path, inner in module.named_modules():
        own = [*inner.named_parameters(recurse=False), *inner.named_buffers(recurse=False)]
        for name, tensor in own:
            full = f"{path}.{name}" if path else name
            if full in kept and tensor.is_floating_point() and id(tensor) not in seen:
                seen.add(id(tensor))
                yield full, inner, tensor


def drawn(name: str, owner: torch.nn.Module, shape: tuple[int, ...], stream: Stream) -> np.ndarray | None:
    """Return the values of one tensor, None if it stays as it is."""
    own, last = name.rpartition(".")[2], type(owner).__name__.lower()
    buffer = own in dict(owner.named_buffers(recurse=False))
    if own == "running_var":
        return np.exp(stream.normal(name, shape, SPREAD))
    if own == "running_mean" or "bias" in own:
        return stream.normal(name, shape, SPREAD)
    if buffer or not shape:
        return None
    if "norm" in last and len(shape) == 1:
        return stream.normal(name, shape, SPREAD) + np.float32(0 if adds_one(owner) else 1)
    if isinstance(owner, torch.nn.Embedding) or any(word in own for word in ("emb", "token", "pos")):
        return stream.normal(name, shape, SPREAD if "bias" in name else SMALL)
    if len(shape) == 1:
        return stream.normal(name, shape, SPREAD)
    return stream.normal(name, shape, fan_in(owner, shape) ** -0.5)


def fan_in(owner: torch.nn.Module, shape: tuple[int, ...]) -> int:
    """Return the number of inputs of one output, by the layout of a weight."""
    if type(owner).__name__ == "Conv1D":  # a linear layer of GPT-2, whose weight is (in, out)
        return shape[0]
    if len(shape) == 3 and not isinstance(owner, torch.nn.modules.conv._ConvNd):  # one matrix an expert
        return shape[-1]
    return math.prod(shape[1:])


@torch.no_grad()
def adds_one(norm: torch.nn.Module) -> bool:
    """Report whether a norm multiplies by one more than its weight, as Gemma's do."""
    still = copy.deepcopy(norm).float().cpu().eval()
    for parameter in still.parameters():
        parameter.zero_()
    width = max((parameter.numel() for parameter in still.parameters()), default=0)
    try:
        output = still(torch.arange(2.0 * width).view(2, width))
    except Exception:  # another call than of a norm over the last dimension
        return False
    return isinstance(output, torch.Tensor) and bool((output != 0).any())
