"""A module that nothing else describes: PyTorch itself says how far rounding moves its output."""

import copy
from pathlib import Path

import numpy as np
import torch

from pyref.capture import check, run
from pyref.capture.call import Call
from pyref.stream import Stream

RUNS = 9


def describe(
    name: str, module: torch.nn.Module, call: Call, seed: int
) -> tuple[str, dict, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return op, config, inputs and expected."""
    output, truth = run.single(name, module, call)[0], run.double(name, module, call)[0]
    check.finite(name, "the output", output)
    check.finite(name, "the float64 output", truth)
    check.same(name, "in float32 and in float64", output, truth)
    deviation = sigma(name, module, call, truth, Stream(seed))
    check.finite(name, "the output for inputs moved by a unit in the last place", deviation)
    expected = {"output": output, "truth": truth, "sigma": deviation}
    return "module", {"module": run.class_name(module)}, call.arrays, expected


def verify(name: str, folder: Path) -> None:
    """Accept the case: there is no second implementation to hold it against."""


def sigma(name: str, module: torch.nn.Module, call: Call, truth: np.ndarray, stream: Stream) -> np.ndarray:
    """Return the standard deviation, in the shape of the output, that rounding gives the module.

    In each run every float input and parameter is moved by -1, 0 or +1 unit in the last place, as earlier
    rounding would have. The mean square of the errors is that of few runs, so each element shares in its
    row's: the variance is its own mean square plus the mean over the last dimension.
    """
    squares = [(run.once(name, *moved(module, call, stream, i))[0] - truth) ** 2 for i in range(RUNS)]
    variance = np.mean(squares, axis=0)
    return np.sqrt(variance + variance.mean(axis=-1 if variance.ndim else None, keepdims=True))


def moved(module: torch.nn.Module, call: Call, stream: Stream, i: int) -> tuple[torch.nn.Module, Call]:
    """Return the module and the call of run `i`."""
    module = copy.deepcopy(module)
    for name, parameter in module.named_parameters():
        parameter.data = torch.from_numpy(nudge(parameter.detach().numpy(), stream, f"{i} parameter {name}"))
    arrays = {id(array): (name, array) for name, array in call.arrays.items()}
    nudged = {key: nudge(array, stream, f"{i} input {name}") for key, (name, array) in arrays.items()}
    return module, call.with_arguments(**{name: nudged[id(array)] for name, array in call.arrays.items()})


def nudge(array: np.ndarray, stream: Stream, name: str) -> np.ndarray:
    """Return floats moved by -1, 0 or +1 unit in the last place; infinities, old or new, are no move."""
    if array.dtype.kind != "f":
        return array
    steps = stream.words(name, array.shape) % 3
    with np.errstate(over="ignore"):  # the neighbour of the largest number
        up, down = np.nextafter(array, np.float32(np.inf)), np.nextafter(array, np.float32(-np.inf))
    result = np.choose(steps, [array, up, down])
    return np.where(np.isfinite(array) & np.isfinite(result), result, array)
