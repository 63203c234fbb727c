"""The module that is captured: a copy in float32 on the CPU, which no run changes back."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch

EXPERTS = "batched_mm"  # grouped_mm has no float64, and torch.export cannot follow a loop over experts


@dataclass(frozen=True)
class Prepared:
    """The copy, the type of the floats that it had, and a note on each thing that it changed."""

    module: torch.nn.Module
    dtype: torch.dtype
    notes: tuple[str, ...]


def prepare(module: torch.nn.Module) -> Prepared:
    """Return a copy of a module that is fit for a capture."""
    tensors = list(module.state_dict().values())
    floats = {tensor.dtype: None for tensor in tensors if tensor.is_floating_point()}
    devices = {tensor.device.type: None for tensor in tensors}
    copied = copy.deepcopy(module).cpu().float()
    return Prepared(copied, lowest(list(floats)), tuple(notes(copied, list(floats), list(devices))))


def lowest(floats: list[torch.dtype]) -> torch.dtype:
    """Return the type with the largest unit in the last place, float32 if there is none."""
    return max(floats, key=lambda dtype: torch.finfo(dtype).eps, default=torch.float32)


def notes(module: torch.nn.Module, floats: list[torch.dtype], devices: list[str]) -> Iterator[str]:
    """Yield what differs between the user's module and the copy, and set the experts of the copy."""
    if floats and floats != [torch.float32]:
        yield f"computed in float32, the parameters are {' and '.join(map(word, floats))}"
    if devices and devices != ["cpu"]:
        yield f"computed on the CPU, the module is on {' and '.join(devices)}"
    before = batch_experts(module)
    if before is not None:
        yield f"experts computed by {EXPERTS} in place of {before}"


def word(dtype: torch.dtype) -> str:
    """Return the name of a type without its module."""
    return str(dtype).removeprefix("torch.")


def batch_experts(module: torch.nn.Module) -> str | None:
    """Let a mixture of experts compute all experts at once; return the name of its own way, if another."""
    if not any("expert" in type(inner).__name__.lower() for inner in module.modules()):
        return None
    before = None
    for inner in module.modules():
        config = getattr(inner, "config", None)
        chosen = getattr(config, "_experts_implementation", None)
        if chosen is not None and chosen != EXPERTS:
            config._experts_implementation = EXPERTS
            before = before or str(chosen)
    return before
