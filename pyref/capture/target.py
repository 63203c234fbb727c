"""The target of the commands capture and serve: FILE.py:FACTORY or package.module:FACTORY."""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import torch


def load(target: str) -> tuple[torch.nn.Module, Mapping[str, object]]:
    """Call the factory, and return its module and inputs."""
    match factory(target)():
        case (torch.nn.Module() as module, dict() as inputs):
            return module, inputs
    raise ValueError(f"{target}: want a module and a dict of forward's arguments from the factory")


def factory(target: str) -> Callable:
    """Return the function that `target` names."""
    source, separator, name = target.rpartition(":")
    if not separator or not source or not name:
        raise ValueError(f"{target!r}: want FILE.py:FACTORY or package.module:FACTORY")
    made = getattr(imported(source), name, None)
    if not callable(made):
        raise ValueError(f"{source} has no function {name}")
    return made


def imported(source: str) -> ModuleType:
    """Import a file, whose folder then is importable, or a module by its name."""
    if not source.endswith(".py"):
        return importlib.import_module(source)
    path = Path(source).resolve()
    if not path.is_file():
        raise ValueError(f"{source}: no such file")
    sys.path.insert(0, str(path.parent))
    return importlib.import_module(path.stem)
