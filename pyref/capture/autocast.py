"""Modules under torch.autocast, and modules that enter it themselves.

The truth has no autocast: `left_out` switches it off, whoever enters it. The noise in the
arithmetic of autocast is measured with it.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.amp import autocast_mode
from torch.utils._python_dispatch import TorchDispatchMode

from pyref.capture import check, low_precision, padding
from pyref.capture.call import Call

ENTER, EXIT = autocast_mode.autocast.__enter__, autocast_mode.autocast.__exit__


@dataclass
class LeftOut:
    """The types of autocast: around the capture, None if there was none, and inside the module."""

    around: torch.dtype | None
    inside: list[torch.dtype] = field(default_factory=list)

    @property
    def dtype(self) -> torch.dtype | None:
        """The type whose noise is measured."""
        return next((dtype for dtype in (self.around, *self.inside) if dtype is not None), None)

    def notes(self) -> Iterator[str]:
        """Yield what differs from the user's call."""
        if self.dtype is not None:
            yield f"computed without autocast to {word(self.dtype)}, whose noise is stored"


def word(dtype: torch.dtype) -> str:
    """Return the name of a type without its module."""
    return str(dtype).removeprefix("torch.")


def around() -> torch.dtype | None:
    """Return the type of autocast that the caller has entered, None if there is none."""
    if not hasattr(torch, "get_autocast_dtype"):  # before PyTorch 2.4
        return torch.get_autocast_cpu_dtype() if torch.is_autocast_cpu_enabled() else None
    entered = [device for device in ("cpu", "cuda") if torch.is_autocast_enabled(device)]
    return torch.get_autocast_dtype(entered[0]) if entered else None


@contextmanager
def left_out() -> Iterator[LeftOut]:
    """Switch autocast off, also where a module enters it, and note its types."""
    found = LeftOut(around())

    def enter(context: torch.autocast) -> torch.autocast:
        if context._enabled and context.device in ("cpu", "cuda") and context.fast_dtype not in found.inside:
            found.inside.append(context.fast_dtype)
        return context

    gpu = torch.autocast("cuda", enabled=False) if torch.cuda.is_available() else nullcontext()
    with torch.autocast("cpu", enabled=False), gpu:
        before = autocast_mode.autocast.__enter__, autocast_mode.autocast.__exit__
        try:
            autocast_mode.autocast.__enter__ = enter
            autocast_mode.autocast.__exit__ = lambda *_: None
            yield found
        finally:
            autocast_mode.autocast.__enter__, autocast_mode.autocast.__exit__ = before


@contextmanager
def restored(found: LeftOut) -> Iterator[None]:
    """Enter autocast as the user does, inside `left_out`."""
    without = autocast_mode.autocast.__enter__, autocast_mode.autocast.__exit__
    autocast_mode.autocast.__enter__, autocast_mode.autocast.__exit__ = ENTER, EXIT
    try:
        with torch.autocast("cpu", dtype=found.around) if found.around is not None else nullcontext():
            yield
    finally:
        autocast_mode.autocast.__enter__, autocast_mode.autocast.__exit__ = without


def sigmas(
    found: LeftOut, module: torch.nn.Module, call: Call, truth: np.ndarray, seed: int, padded: padding.Padded
) -> dict[str, np.ndarray]:
    """Return "sigma_bfloat16" or "sigma_float16", measured under autocast, if it was entered.

    The parameters that autocast rounds are nudged by units of its type.
    """
    name = word(found.dtype) if found.dtype is not None else ""
    if name not in low_precision.PRECISIONS:
        return {}
    rng, squares = np.random.default_rng(seed), []
    with restored(found):
        rounded = rounded_parameters(module, call, found.dtype)
        for _ in range(low_precision.RUNS):
            low = copy.deepcopy(module)
            with torch.no_grad():
                for path, parameter in low.named_parameters():
                    if path in rounded:
                        parameter.copy_(low_precision.nudged(parameter.to(found.dtype), rng))
            output = check.output("", call(low, np.float32), call.output).double().numpy()
            squares.append((output - truth) ** 2)
    deviation = padded.deviation(np.mean(squares, axis=0))
    return {f"sigma_{name}": deviation} if np.isfinite(deviation).all() else {}


def rounded_parameters(module: torch.nn.Module, call: Call, dtype: torch.dtype) -> set[str]:
    """Return the paths of the parameters that autocast rounds to its type."""
    storages = {p.untyped_storage().data_ptr(): path for path, p in module.named_parameters()}
    with Casts(dtype) as casts:
        call(module, np.float32)
    return {storages[place] for place in casts.places if place in storages}


class Casts(TorchDispatchMode):
    """Notes where the tensors stand in memory that are rounded to a type."""

    def __init__(self, dtype: torch.dtype) -> None:
        """Begin with none."""
        super().__init__()
        self.dtype, self.places = dtype, set()

    def __torch_dispatch__(self, function, types, values=(), keywords=None):
        """Note one cast."""
        keywords = keywords or {}
        if function is torch.ops.aten._to_copy.default and keywords.get("dtype") is self.dtype:
            self.places.add(values[0].untyped_storage().data_ptr())
        return function(*values, **keywords)
