"""One call of a module: its arguments by their names in `forward`."""

import copy
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from pyref.capture.tree import Tree, flatten

PLAIN = (type(None), bool, int, float, str)


@dataclass(frozen=True)
class Call:
    """The first `positional` arguments are passed by position, the others by keyword.

    `arguments` holds the leaves of all arguments by name. An argument that is a tensor or a plain
    value is its own leaf. `trees` holds the structure of the others. Tensors are held as arrays.
    Leaves that share a tensor share the array, because a layer may test `key is value`. Any other
    value is held unchanged. `output` names the output in the result, "" for the first float tensor.
    """

    arguments: dict[str, object]
    positional: int = 0
    trees: dict[str, Tree] = field(default_factory=dict)
    output: str = ""
    changes: tuple[str, ...] = ()  # of tensors that were not float32 on the CPU

    @classmethod
    def of(cls, module: torch.nn.Module, inputs: object) -> "Call":
        """Return the call with a dict of arguments, a tuple or list of them, or a single one.

        ValueError if forward does not accept it.
        """
        if isinstance(inputs, Mapping):
            return cls.by_keyword(module, inputs)
        values = tuple(inputs) if type(inputs) in (tuple, list) else (inputs,)
        check_binding(module, *values)
        return cls.recorded(module, values, {})

    @classmethod
    def by_keyword(cls, module: torch.nn.Module, inputs: Mapping[str, object]) -> "Call":
        """Return the call `module(**inputs)`; ValueError if forward does not accept it."""
        check_binding(module, **inputs)
        return cls.holding(dict(inputs))

    @classmethod
    def recorded(cls, module: torch.nn.Module, values: tuple, keywords: Mapping[str, object]) -> "Call":
        """Return the call `module(*values, **keywords)` with copies of its tensors."""
        names = list(positional_names(module, len(values)))
        return cls.holding(dict(zip(names, values, strict=True)) | dict(keywords), len(values))

    @classmethod
    def holding(cls, arguments: Mapping[str, object], positional: int = 0) -> "Call":
        """Return the call with these arguments, nested ones taken apart."""
        trees = {name: flatten(name, value) for name, value in arguments.items()}
        leaves: dict[str, object] = {}
        for tree in trees.values():
            leaves |= tree.leaves
        return cls(as_arrays(leaves), positional, trees, changes=tuple(changes(leaves)))

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The leaves that are tensors."""
        return {name: value for name, value in self.arguments.items() if isinstance(value, np.ndarray)}

    @property
    def plain(self) -> dict[str, object]:
        """The leaves that are not tensors."""
        return {name: value for name, value in self.arguments.items() if name not in self.arrays}

    @property
    def nested(self) -> bool:
        """Whether an argument is taken apart."""
        return any(list(tree.leaves) != [name] for name, tree in self.trees.items())

    def with_arguments(self, **arguments: object) -> "Call":
        """Return the call with some leaves replaced, or arguments added by keyword."""
        return replace(self, arguments=self.arguments | arguments)

    @torch.no_grad()
    def __call__(self, module: torch.nn.Module, dtype: type[np.floating]) -> object:
        """Call a module on new tensors, floats in `dtype`, and return its result."""
        positional, keywords = self.bound(self.tensors(dtype))
        return module(*positional, **keywords)

    def tensors(self, dtype: type[np.floating]) -> dict[str, object]:
        """Return the leaves with new tensors, floats in `dtype`, and copies of what may change."""
        tensors = {id(array): to_tensor(array, dtype) for array in self.arrays.values()}
        return {
            name: tensors[id(value)] if id(value) in tensors else fresh(value)
            for name, value in self.arguments.items()
        }

    def bound(self, leaves: Mapping[str, object]) -> tuple[list[object], dict[str, object]]:
        """Return the arguments by position and by keyword, built from leaves."""
        held = {name for tree in self.trees.values() for name in tree.leaves}
        values = {name: tree.build(leaves) for name, tree in self.trees.items()}
        values |= {name: value for name, value in leaves.items() if name not in held}
        names = list(values)
        first, rest = names[: self.positional], names[self.positional :]
        return [values[name] for name in first], {name: values[name] for name in rest}


def check_binding(module: torch.nn.Module, *values: object, **inputs: object) -> None:
    """Raise ValueError if forward does not accept these arguments."""
    try:
        inspect.signature(module.forward).bind(*values, **inputs)
    except TypeError as error:
        raise ValueError(f"inputs do not fit {type(module).__qualname__}.forward: {error}") from None


def positional_names(module: torch.nn.Module, count: int) -> list[str]:
    """Return names for `count` positional arguments; arguments in *rest are rest0, rest1, ..."""
    names, parameters = [], iter(inspect.signature(module.forward).parameters.values())
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            return names[:count] + [f"{parameter.name}{i}" for i in range(count - len(names))]
        names.append(parameter.name)
    return names[:count]


def changes(leaves: Mapping[str, object]) -> Iterator[str]:
    """Yield how tensors differ from the arrays that hold them."""
    tensors = {name: value for name, value in leaves.items() if isinstance(value, torch.Tensor)}
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.dtype is not torch.float32:
            yield f"{name} made float32 from {str(tensor.dtype).removeprefix('torch.')}"
    devices = {tensor.device.type: None for tensor in tensors.values()}
    if devices and list(devices) != ["cpu"]:
        yield f"inputs moved to the CPU from {' and '.join(d for d in devices if d != 'cpu')}"


def as_arrays(leaves: Mapping[str, object]) -> dict[str, object]:
    """Return the leaves with one array for each distinct tensor."""
    tensors = {id(value): value for value in leaves.values() if isinstance(value, torch.Tensor)}
    arrays = {key: to_array(tensor) for key, tensor in tensors.items()}
    return {name: arrays.get(id(value), value) for name, value in leaves.items()}


def fresh(value: object) -> object:
    """Return a value that a call may change, such as an empty cache."""
    return value if isinstance(value, PLAIN) else copy.deepcopy(value)


def to_array(tensor: torch.Tensor) -> np.ndarray | torch.Tensor:
    """Return a copy of a tensor as an array, floats in float32, or the tensor if NumPy cannot hold it."""
    try:
        tensor = tensor.detach().cpu()
        if tensor.is_floating_point():
            tensor = tensor.float()
        elif tensor.is_complex():
            tensor = tensor.to(torch.complex64).resolve_conj()
        return tensor.numpy().copy()
    except (TypeError, RuntimeError, NotImplementedError):
        return tensor


def to_tensor(array: np.ndarray, dtype: type[np.floating]) -> torch.Tensor:
    """Return a copy of an array as a tensor, floats in `dtype`."""
    if array.dtype.kind == "c":
        return torch.from_numpy(array.astype(np.result_type(dtype, np.complex64)))
    return torch.from_numpy(array.astype(dtype) if array.dtype.kind == "f" else array.copy())
