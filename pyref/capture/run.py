"""Runs of a module, in float32 and in float64."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from pyref.capture import check, exact
from pyref.capture.call import Call
from pyref.capture.float64 import in_float64
from pyref.capture.module_of import Function


def once(name: str, module: torch.nn.Module, call: Call) -> list[np.ndarray]:
    """Return a module's float32 output and the tensors after it in its result."""
    return outputs(name, called(name, module, call, np.float32), torch.float32, call.output)


def single(name: str, module: torch.nn.Module, call: Call) -> list[np.ndarray]:
    """Return the float32 tensors; ValueError unless two runs agree."""
    first, second = once(name, module, call), once(name, module, call)
    if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(first, second, strict=True)):
        raise ValueError(f"{name}: two forward passes on the same inputs differ")
    return first


def double(name: str, module: torch.nn.Module, call: Call) -> list[np.ndarray]:
    """Return the tensors from a float64 copy of the module."""
    wide = exact.double(module)
    with in_float64():
        return outputs(name, called(name, wide, call, np.float64), torch.float64, call.output)


def called(name: str, module: torch.nn.Module, call: Call, dtype: type[np.floating]) -> object:
    """Return the result of a call; ValueError if the module fails."""
    try:
        return call(module, dtype)
    except Exception as error:  # modules fail in many ways
        reason = (str(error).strip().splitlines() or [""])[0]
        if isinstance(module, Function) and dtype is np.float64:
            reason += "; capture a module that the function calls, or a method of it"
        raise ValueError(
            f"{name}: the module fails in {dtype.__name__}: {type(error).__name__}: {reason}"
        ) from error


def outputs(name: str, result: object, dtype: torch.dtype, wanted: str = "") -> list[np.ndarray]:
    """Return the output and the other tensors of a module's result."""
    output = check.output(name, result, wanted)
    if output.dtype != dtype:
        raise ValueError(f"{name}: the output of a {dtype} module is {output.dtype}")
    rest = result[1:] if isinstance(result, (tuple, list)) else ()
    tensors = [output, *(value for value in rest if isinstance(value, torch.Tensor))]
    return [tensor.detach().numpy().copy() for tensor in tensors]


@contextmanager
def unfused(model: torch.nn.Module) -> Iterator[None]:
    """Make PyTorch's encoder layers call their submodules, which their fast path skips."""
    switch = getattr(torch.backends, "mha", None)  # not in PyTorch 2.0
    if switch is None or not any(isinstance(m, torch.nn.TransformerEncoderLayer) for m in model.modules()):
        yield
        return
    before = switch.get_fastpath_enabled()
    switch.set_fastpath_enabled(False)
    try:
        yield
    finally:
        switch.set_fastpath_enabled(before)
