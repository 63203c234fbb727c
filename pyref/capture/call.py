"""One call of a module: its arguments by their names in `forward`."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Call:
    """The first `positional` arguments are passed by position, the others by keyword.

    Tensors are held as arrays. Arguments that share a tensor share the array, because a layer may
    test `key is value`. Any other value is held unchanged.
    """

    arguments: dict[str, object]
    positional: int = 0

    @classmethod
    def by_keyword(cls, module: torch.nn.Module, inputs: Mapping[str, object]) -> "Call":
        """Return the call `module(**inputs)`; ValueError if forward does not accept it."""
        try:
            inspect.signature(module.forward).bind(**inputs)
        except TypeError as error:
            raise ValueError(f"inputs do not fit {type(module).__qualname__}.forward: {error}") from None
        return cls(as_arrays(inputs))

    @classmethod
    def recorded(cls, module: torch.nn.Module, values: tuple, keywords: Mapping[str, object]) -> "Call":
        """Return the call `module(*values, **keywords)` with copies of its tensors."""
        names = list(positional_names(module, len(values)))
        return cls(as_arrays(dict(zip(names, values, strict=True)) | dict(keywords)), len(values))

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The arguments that are tensors."""
        return {name: value for name, value in self.arguments.items() if isinstance(value, np.ndarray)}

    @property
    def plain(self) -> dict[str, object]:
        """The arguments that are not tensors."""
        return {name: value for name, value in self.arguments.items() if name not in self.arrays}

    def with_arguments(self, **arguments: object) -> "Call":
        """Return the call with some arguments replaced, or added by keyword."""
        return Call(self.arguments | arguments, self.positional)

    @torch.no_grad()
    def __call__(self, module: torch.nn.Module, dtype: type[np.floating]) -> object:
        """Call a module on new tensors, floats in `dtype`, and return its result."""
        tensors = {id(array): to_tensor(array, dtype) for array in self.arrays.values()}
        values = {name: tensors.get(id(value), value) for name, value in self.arguments.items()}
        names = list(values)
        first, rest = names[: self.positional], names[self.positional :]
        return module(*(values[name] for name in first), **{name: values[name] for name in rest})


def positional_names(module: torch.nn.Module, count: int) -> list[str]:
    """Return names for `count` positional arguments; arguments in *rest are rest0, rest1, ..."""
    names, parameters = [], iter(inspect.signature(module.forward).parameters.values())
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            return names[:count] + [f"{parameter.name}{i}" for i in range(count - len(names))]
        names.append(parameter.name)
    return names[:count]


def as_arrays(arguments: Mapping[str, object]) -> dict[str, object]:
    """Return the arguments with one array for each distinct tensor."""
    tensors = {id(value): value for value in arguments.values() if isinstance(value, torch.Tensor)}
    arrays = {key: to_array(tensor) for key, tensor in tensors.items()}
    return {name: arrays.get(id(value), value) for name, value in arguments.items()}


def to_array(tensor: torch.Tensor) -> np.ndarray | torch.Tensor:
    """Return a copy of a tensor as an array, or the tensor itself if NumPy has no such dtype."""
    try:
        return tensor.detach().numpy().copy()
    except (TypeError, RuntimeError):
        return tensor


def to_tensor(array: np.ndarray, dtype: type[np.floating]) -> torch.Tensor:
    """Return a copy of an array as a tensor, floats in `dtype`."""
    return torch.from_numpy(array.astype(dtype) if array.dtype.kind == "f" else array.copy())
