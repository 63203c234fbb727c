"""The reasons why a module cannot be captured, one ValueError each."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from pyref.capture.call import Call
from pyref.capture.tree import flatten

FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
COMPLEX = (torch.complex64, torch.complex128)
TYPES = (*FLOATS, *INTEGERS, torch.bool, *COMPLEX)
SAME = 1e-3  # of the largest element: rounding stays far below, other differences lie above
NAMES = 12  # shown of a longer list


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
        if isinstance(value, torch.Tensor) and (value.is_nested or value.layout is not torch.strided):
            kind = "nested" if value.is_nested else value.layout
            raise ValueError(f"{name}: {what} is {value.dtype}, {kind}; want a dense tensor")
        if isinstance(value, torch.Tensor) and value.dtype not in TYPES:
            types = ", ".join(str(dtype).removeprefix("torch.") for dtype in TYPES)
            raise ValueError(f"{name}: {what} is {value.dtype}; want one of {types}")
        if isinstance(value, torch.Tensor) and value.device.type == "meta":
            raise ValueError(f"{name}: {what} is on the device meta, which holds no values")


def stored(module: torch.nn.Module, call: Call) -> Iterator[tuple[str, object]]:
    """Yield the arguments and the state dict, each with its name in error messages."""
    for name, value in call.arguments.items():
        yield f"input {name}", torch.from_numpy(value) if isinstance(value, np.ndarray) else value
    for name, value in module.state_dict().items():
        yield f"parameter {name}", value


def output(name: str, result: object, wanted: str = "") -> torch.Tensor:
    """Return a module's output: the first tensor of floats in its result, or below `wanted` in it.

    `wanted` is the name of a part, such as "logits" or "1.mask".
    """
    tensors = floats(result)
    below = [path for path in tensors if not wanted or path == wanted or path.startswith(f"{wanted}.")]
    if tensors and not below:
        raise ValueError(
            f"{name}: the result has no tensor of floats called {wanted!r}: {some(list(tensors))}"
        )
    first = tensors[below[0]] if below else None
    if first is None:
        kind = type(result).__qualname__
        raise ValueError(
            f"{name}: the output is a {kind}, want a tensor of floats, or something that holds one"
        )
    if first.is_nested:
        raise ValueError(f"{name}: the output is a nested tensor, which has no shape")
    return first


def floats(result: object) -> dict[str, torch.Tensor]:
    """Return the tensors of floats in a result by name."""
    leaves = flatten("", result).leaves
    return {
        path: leaf
        for path, leaf in leaves.items()
        if isinstance(leaf, torch.Tensor) and leaf.is_floating_point()
    }


def some(names: list[str]) -> str:
    """Return the names that there are, or the first of many."""
    shown = ", ".join(name or "(the result itself)" for name in names[:NAMES])
    return f"there are {shown}" + (f" and {len(names) - NAMES} more" if len(names) > NAMES else "")


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
