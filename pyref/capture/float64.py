"""The mode in which a module computes in float64 even where it asks for float32."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.overrides import TorchFunctionMode


@contextmanager
def in_float64() -> Iterator[None]:
    """Let a module create float64 tensors, both by default and where it asks for float32."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with Widened():
            yield
    finally:
        torch.set_default_dtype(before)


class Widened(TorchFunctionMode):
    """Replaces float32 by float64 in calls of PyTorch. Norms often ask for float32."""

    def __torch_function__(self, function, types, values=(), keywords=None):
        """Replace the dtype in one call."""
        if function is torch.Tensor.float:
            function = torch.Tensor.double
        widened = {name: widen(value) for name, value in (keywords or {}).items()}
        values = tuple(map(widen, values))
        if function in (torch.rms_norm, torch.nn.functional.rms_norm):
            values, widened = with_eps(*values, **widened), {}
        return function(*values, **widened)


WIDE = {torch.float32: torch.float64, torch.complex64: torch.complex128}


def widen(value: object) -> object:
    """Return float64 for float32, and any other value unchanged."""
    return WIDE.get(value, value) if isinstance(value, torch.dtype) else value


def with_eps(x, shape, weight=None, eps=None) -> tuple:
    """Return the arguments of rms_norm with the eps that it takes in float32 if it gets none."""
    return x, shape, weight, torch.finfo(torch.float32).eps if eps is None else eps
