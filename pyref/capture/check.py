"""The reasons why a module cannot be captured, one ValueError each."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils._pytree import tree_flatten

from pyref.capture.call import Call

KINDS = tuple(f"{dtype}, torch.strided, on cpu" for dtype in (torch.float32, torch.int64, torch.bool))
SAME = 1e-3  # of the largest element: rounding stays far below, other differences lie above
PLAIN = (type(None), bool, int, float, str)


def case_folder(name: str, folder: Path) -> Path:
    """Return a case's folder. Refuse an unsafe name, and a folder that holds something else."""
    word = "[a-z0-9][a-z0-9._-]*"
    if not re.fullmatch(f"{word}(/{word})+", name):
        raise ValueError(
            f"name {name!r}: want group/name of lower-case letters, digits, dots, hyphens and underscores"
        )
    target = Path(folder) / name
    if target.exists() and not (target / "case.json").is_file():
        raise ValueError(f"{name}: {target} exists and is not a case")
    return target


def distinct(name: str, suffixes: list[str]) -> None:
    """Refuse submodules whose folders would have the same name."""
    twice = sorted({suffix for suffix in suffixes if suffixes.count(suffix) > 1})
    if twice:
        raise ValueError(f"{name}: more than one submodule would be {name}-{twice[0]}: narrow the pattern")


def dropout(name: str, module: torch.nn.Module) -> None:
    """Refuse a module in train mode with dropout, because its output is random."""
    for path, inner in module.named_modules():
        rate = (
            inner.p if isinstance(inner, torch.nn.modules.dropout._DropoutNd) else vars(inner).get("dropout")
        )
        if inner.training and isinstance(rate, (int, float)) and rate > 0:
            raise ValueError(f"{name}: dropout {rate} is active in {path or 'the module'}: call eval() first")


def tensors(name: str, module: torch.nn.Module, call: Call) -> None:
    """Refuse arguments, parameters and buffers that a case cannot hold."""
    for what, value in stored(module, call):
        if isinstance(value, torch.Tensor):
            kind = f"{value.dtype}, {'nested' if value.is_nested else value.layout}, on {value.device.type}"
            if kind not in KINDS:
                raise ValueError(f"{name}: {what} is {kind}; want one of: {'; '.join(KINDS)}")
        elif not isinstance(value, PLAIN):
            raise ValueError(
                f"{name}: {what} is a {type(value).__qualname__}, want a tensor, a number, a string or None"
            )


def stored(module: torch.nn.Module, call: Call) -> Iterator[tuple[str, object]]:
    """Yield the arguments and the state dict, each with its name in error messages."""
    for name, value in call.arguments.items():
        yield f"input {name}", torch.from_numpy(value) if isinstance(value, np.ndarray) else value
    for name, value in module.state_dict().items():
        yield f"parameter {name}", value


def output(name: str, result: object) -> torch.Tensor:
    """Return a module's output: the first tensor of floats in its result, however it is nested."""
    leaves, _ = tree_flatten(result)
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    first = next((tensor for tensor in tensors if tensor.is_floating_point()), None)
    if first is None:
        kind = type(result).__qualname__
        raise ValueError(
            f"{name}: the output is a {kind}, want a tensor of floats, or something that holds one"
        )
    if first.is_nested:
        raise ValueError(f"{name}: the output is a nested tensor, which has no shape")
    return first


def same(name: str, where: str, a: np.ndarray, b: np.ndarray) -> None:
    """Refuse two outputs of one module that differ by more than rounding."""
    finite = np.isfinite(b)
    distance = np.abs(a.astype(np.float64) - b)[finite].max(initial=0)
    if (np.isfinite(a) != finite).any() or not distance <= SAME * np.abs(b[finite]).max(initial=0):
        raise ValueError(
            f"{name}: the module gives another output {where}: the largest difference is {distance:.1e}"
        )


def finite(name: str, what: str, array: np.ndarray) -> None:
    """Refuse NaN and infinities, because implementations need not agree on them."""
    count = np.count_nonzero(~np.isfinite(array))
    if count:
        raise ValueError(f"{name}: {what} has {count} elements that are not finite, of {array.size}")
