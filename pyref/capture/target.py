"""The target of the commands capture and serve: FILE.py:FACTORY, package.module:FACTORY or a model."""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch

from pyref.capture import tiny


@dataclass(frozen=True)
class Target:
    """A module or a function, its inputs, and whether its parameters are drawn by chance."""

    module: torch.nn.Module | Callable
    inputs: object
    random: bool = False


def load(target: str, settings: Mapping[str, object] | None = None) -> Target:
    """Return what a factory makes, a tiny model of a Hugging Face class, or the model in a folder.

    `settings` are fields of the tiny model's configuration.
    """
    made = None if Path(target).is_dir() else factory(target)
    if tiny.is_model_class(made):
        return Target(*tiny.make(made, settings or {}), random=True)
    if settings is not None:
        raise ValueError(f"{target}: no class of Hugging Face models, so --config has no meaning")
    if made is None:
        return Target(*tiny.load(Path(target)))
    match made():
        case (module, inputs) if callable(module):
            return Target(module, inputs)
    raise ValueError(f"{target}: want a module and its inputs, as a dict or a tuple, from the factory")


def factory(target: str) -> Callable:
    """Return the function that `target` names."""
    source, separator, name = target.rpartition(":")
    if not separator or not source or not name:
        raise ValueError(
            f"{target!r}: want FILE.py:FACTORY, package.module:FACTORY, transformers:CLASS or a folder"
        )
    made = getattr(imported(source), name, None)
    if not callable(made):
        raise ValueError(f"{source} has no function or class {name}")
    return made


def imported(source: str) -> ModuleType:
    """Import a file, whose folder then is importable, or a module by its name."""
    if not source.endswith(".py"):
        try:
            return importlib.import_module(source)
        except ModuleNotFoundError as error:
            package = source.split(".")[0]
            if error.name == package:
                raise ValueError(f"{package} is not installed: pip install {package}") from None
            raise
    path = Path(source).resolve()
    if not path.is_file():
        raise ValueError(f"{source}: no such file")
    sys.path.insert(0, str(path.parent))
    return importlib.import_module(path.stem)
