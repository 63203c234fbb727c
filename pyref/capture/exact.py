"""A module in float64, with the tables that it computed in float32 computed again.

`module.double()` keeps what a table has lost: Hugging Face computes the frequencies of rotary
embedding in float32 when it builds a model, and does not store them with the parameters. A program
in another language computes them itself. Against a truth with rounded frequencies it would be
wrong by far more than rounding.

A table is a buffer that is not in the state dict, or a tensor that is a plain attribute. Its module
is built again, by its own constructor, twice: in float32, where every bit of the table must come
out again, and in float64. A table whose module cannot be built again keeps its float32 values.
"""

import copy
import inspect
import warnings
from collections.abc import Iterator, Mapping

import torch

from pyref.capture.float64 import WIDE, in_float64


def double(module: torch.nn.Module) -> torch.nn.Module:
    """Return a copy of a module in float64, with exact tables."""
    wide = copy.deepcopy(module).double()
    wide._apply(lambda tensor: tensor.to(torch.complex128) if tensor.is_complex() else tensor)
    for path, inner in module.named_modules():
        found = {name: table for name, table in tables(inner) if table.dtype in WIDE}
        exact = again(inner, surroundings(module, path), found) if found else {}
        for name, table in found.items():
            put(wide.get_submodule(path), name, exact.get(name, table.to(WIDE[table.dtype])))
    return wide


def tables(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors of one module that are neither parameters nor in the state dict."""
    for name in sorted(module._non_persistent_buffers_set):
        if module._buffers.get(name) is not None:
            yield name, module._buffers[name]
    for name, value in vars(module).items():
        if isinstance(value, torch.Tensor):
            yield name, value


def computed(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the float buffers and tables of a module, by their paths."""
    for path, inner in module.named_modules():
        stored = ((name, buffer) for name, buffer in inner._buffers.items() if buffer is not None)
        for name, table in (dict(stored) | dict(tables(inner))).items():
            if table.is_floating_point() or table.is_complex():
                yield f"{path}.{name}" if path else name, table


def put(module: torch.nn.Module, name: str, table: torch.Tensor) -> None:
    """Replace a table of a module."""
    if name in module._buffers:
        module._buffers[name] = table
    else:
        setattr(module, name, table)


def surroundings(model: torch.nn.Module, path: str) -> list[torch.nn.Module]:
    """Return a module and those around it, the innermost first."""
    parts = path.split(".") if path else []
    return [model.get_submodule(".".join(parts[:i])) for i in range(len(parts), -1, -1)]


def again(
    module: torch.nn.Module, around: list[torch.nn.Module], found: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Return the tables of a module that its constructor gives again, in float64."""
    arguments = constructor_arguments(module, around)
    if arguments is None:
        return {}
    narrow = built(module, arguments)
    with in_float64():
        wide = built(module, arguments)
    exact = {}
    for name, table in found.items():
        same, better = narrow.get(name), wide.get(name)
        if same is None or better is None or better.dtype != WIDE[table.dtype]:
            continue
        if same.dtype == table.dtype and same.shape == table.shape and torch.equal(same, table):
            exact[name] = better
    return exact


def constructor_arguments(module: torch.nn.Module, around: list[torch.nn.Module]) -> dict[str, object] | None:
    """Return the arguments with which a module may have been built: attributes of their names.

    A configuration may be an attribute of a module around it. None if an argument is missing.
    """
    arguments = {}
    for name, parameter in list(inspect.signature(type(module).__init__).parameters.items())[1:]:
        owners = around if name == "config" else around[:1]
        owner = next((owner for owner in owners if name in vars(owner)), None)
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if owner is not None:
            arguments[name] = getattr(owner, name)
        elif parameter.default is parameter.empty:
            return None
    return arguments


def built(module: torch.nn.Module, arguments: Mapping[str, object]) -> dict[str, torch.Tensor]:
    """Return the tables of a new module of the same class, none if it cannot be built."""
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return dict(tables(type(module)(**copy.deepcopy(dict(arguments)))))
    except Exception:  # whatever a constructor does with arguments that are not its own
        return {}
