"""The noise of a module in bfloat16 and float16, as PyTorch itself shows it."""

import copy
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.random import Generator
from torch.utils._pytree import tree_flatten, tree_unflatten

from pyref.capture import check, padding
from pyref.capture.call import Call

RUNS = 6  # with nudged inputs and parameters
PRECISIONS = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def sigmas(
    module: torch.nn.Module,
    call: Call,
    truth: np.ndarray,
    seed: int,
    padded: padding.Padded = padding.NONE,
) -> dict[str, np.ndarray]:
    """Return "sigma_bfloat16" and "sigma_float16", in the shape of the output.

    A precision in which PyTorch cannot compute the module, or whose output is not finite, is left
    out. Half of the runs keep the buffers that no state dict has in float32, as from_pretrained of
    transformers does. The others have them in the low precision, as Module.to does.
    """
    found = {}
    for name, dtype in PRECISIONS.items():
        try:
            outputs = list(runs(module, call, dtype, np.random.default_rng(seed)))
        except Exception:  # an operator that has no kernel for the precision fails in many ways
            continue
        squares = [(output - truth) ** 2 for output in outputs if output.shape == truth.shape]
        variance = np.mean(squares, axis=0) if len(squares) == RUNS else np.array(np.nan)
        sigma = padded.deviation(variance)
        if np.isfinite(sigma).all():
            found[f"sigma_{name}"] = sigma
    return found


def runs(module: torch.nn.Module, call: Call, dtype: torch.dtype, rng: Generator) -> Iterator[np.ndarray]:
    """Yield the outputs, in float64, of runs that begin with other roundings."""
    for i in range(RUNS):
        low = copy.deepcopy(module)
        kept = dict(unsaved(low)) if i % 2 else {}
        low.to(dtype)
        with torch.no_grad():
            for path, buffer in kept.items():
                owner, _, name = path.rpartition(".")
                setattr(low.get_submodule(owner), name, buffer)
            for parameter in low.parameters():
                if parameter.dtype == dtype:
                    parameter.copy_(nudged(parameter, rng))
        low.register_forward_pre_hook(in_precision(dtype, rng), with_kwargs=True)
        yield check.output("", call(low, np.float32), call.output).double().numpy()


def in_precision(dtype: torch.dtype, rng: Generator) -> Callable:
    """Return a hook that brings the float tensors of a call into a precision, nudged."""

    def hook(module: torch.nn.Module, values: tuple, keywords: dict) -> tuple:
        leaves, tree = tree_flatten((values, keywords))
        low = [
            nudged(leaf.to(dtype), rng)
            if isinstance(leaf, torch.Tensor) and leaf.is_floating_point()
            else leaf
            for leaf in leaves
        ]
        return tree_unflatten(low, tree)

    return hook


def unsaved(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the float buffers that are not in the state dict, by their paths."""
    saved = module.state_dict()
    for path, buffer in module.named_buffers():
        if path not in saved and buffer.is_floating_point():
            yield path, buffer.clone()


def nudged(tensor: torch.Tensor, rng: Generator) -> torch.Tensor:
    """Move numbers by -1, 0 or +1 unit in the last place of their precision."""
    steps = torch.from_numpy(rng.integers(-1, 2, tuple(tensor.shape), np.int16))
    bits = tensor.detach().clone().contiguous().view(torch.int16)
    magnitude = bits & 0x7FFF
    moved = torch.where(magnitude > 0, bits + steps, bits)  # a neighbour in size, of the same sign
    return moved.view(tensor.dtype).reshape(tensor.shape)
