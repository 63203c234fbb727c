"""Any other module: a case of the op "module", with a noise that PyTorch itself measures."""

import copy
from pathlib import Path

import numpy as np
import torch

from pyref.build.rng import Stream
from pyref.capture import check, choices, exact, low_precision, padding, run
from pyref.capture.call import Call
from pyref.capture.module_of import class_name

RUNS = 9  # with nudged inputs and parameters


def describe(
    name: str, module: torch.nn.Module, call: Call, seed: int, padded: padding.Padded
) -> tuple[str, dict, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return op, config, inputs and expected. What padded rows hold need not be finite."""
    output, truth = run.single(name, module, call)[0], run.double(name, module, call)[0]
    output, truth = padded.settled(output, truth)
    check.finite(name, "the output", output)
    check.finite(name, "the float64 output", truth)
    in_short = choices.short_types(module, call)
    check.same(name, f"in float64 than in float32{in_short}", padded.zeros(output), padded.zeros(truth))
    choices.check_margins(name, module, call, nudged, Stream(seed))
    deviation = sigma(name, module, call, truth, Stream(seed), padded)
    choices.check_short(name, module, call, padded.zeros(truth), deviation)
    check.finite(name, "the output for inputs moved by a unit in the last place", deviation)
    expected = {"output": output, "truth": truth, "sigma": deviation}
    expected |= low_precision.sigmas(module, call, truth, seed, padded)
    return "module", {"module": class_name(module)}, call.arrays, expected


def verify(name: str, folder: Path) -> None:
    """Accept the case, because no second implementation of the module exists."""


def sigma(
    name: str,
    module: torch.nn.Module,
    call: Call,
    truth: np.ndarray,
    stream: Stream,
    padded: padding.Padded = padding.NONE,
) -> np.ndarray:
    """Return the standard deviation of the module's rounding errors, in the shape of the output.

    Each run nudges every float input, parameter and buffer by -1, 0 or +1 unit in the last
    place, as earlier rounding would. A mean square over so few runs is uncertain, so the row
    steadies it: the variance is the element's mean square error plus the mean over the last
    dimension.
    """
    squares = [(run.once(name, *nudged(module, call, stream, i))[0] - truth) ** 2 for i in range(RUNS)]
    return padded.deviation(np.mean(squares, axis=0))


def nudged(module: torch.nn.Module, call: Call, stream: Stream, i: int) -> tuple[torch.nn.Module, Call]:
    """Return the nudged module and call of run `i`."""
    module = copy.deepcopy(module)
    for name, parameter in module.named_parameters():
        parameter.data = torch.from_numpy(nudge(parameter.detach().numpy(), stream, f"{i} parameter {name}"))
    for name, buffer in exact.computed(module):
        values = torch.view_as_real(buffer) if buffer.is_complex() else buffer
        array = values.detach().numpy()
        # A program that computes a table itself gets its integers exactly.
        moved = np.where(array == np.rint(array), array, nudge(array, stream, f"{i} buffer {name}"))
        values.copy_(torch.from_numpy(moved))
    arrays = {id(array): (name, array) for name, array in call.arrays.items()}
    inputs = {key: nudge(array, stream, f"{i} input {name}") for key, (name, array) in arrays.items()}
    return module, call.with_arguments(**{name: inputs[id(array)] for name, array in call.arrays.items()})


def nudge(array: np.ndarray, stream: Stream, name: str) -> np.ndarray:
    """Move floats by -1, 0 or +1 unit in the last place, but never from or to an infinity."""
    if array.dtype.kind == "c":
        return nudge(array.view(np.float32), stream, name).view(array.dtype)
    if array.dtype.kind != "f":
        return array
    steps = stream.words(name, array.shape) % 3
    with np.errstate(over="ignore"):  # the largest number overflows
        up, down = np.nextafter(array, np.float32(np.inf)), np.nextafter(array, np.float32(-np.inf))
    result = np.choose(steps, [array, up, down])
    return np.where(np.isfinite(array) & np.isfinite(result), result, array)
