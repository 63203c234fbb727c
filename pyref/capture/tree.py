"""Nested arguments and results: their tensors by name, and the way back.

The names join the keys, indices and attributes on the way to a tensor: "states.0", "batch.mask",
"past_key_values.layers.0.keys". A value without any tensor is one leaf, whatever it holds.
"""

import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

import torch

DEEPEST = 20  # a cycle of objects would be deeper

OPAQUE = (type, torch.nn.Module, FunctionType, MethodType, BuiltinFunctionType, ModuleType)

Leaves = Mapping[str, object]


@dataclass(frozen=True)
class Tree:
    """The leaves of a value by name, and a function that builds the value from such leaves."""

    leaves: dict[str, object]
    build: Callable[[Leaves], object]


def flatten(name: str, value: object) -> Tree:
    """Return the tree of a value called `name`, "" for a result; ValueError if two leaves share a name.

    Tuples, lists, dicts, dataclasses and other objects with attributes are taken apart where they
    hold a tensor. Each build makes new containers, because a module may change those that it gets.
    """
    if isinstance(value, torch.Tensor) or not holds_tensor(value, set()):
        return Tree({name: value}, lambda leaves: leaves[name])
    if name.count(".") > DEEPEST:
        raise ValueError(f"{name}: nested more than {DEEPEST} deep")
    inner, rebuild = parts(value)
    trees = {key: flatten(joined(name, key), child) for key, child in inner.items()}
    leaves: dict[str, object] = {}
    for tree in trees.values():
        if leaves.keys() & tree.leaves.keys():
            raise ValueError(
                f"{name or 'the result'}: two parts have the name {min(leaves.keys() & tree.leaves)}"
            )
        leaves |= tree.leaves
    return Tree(leaves, lambda given: rebuild({key: tree.build(given) for key, tree in trees.items()}))


def joined(name: str, key: object) -> str:
    """Return the name of a part, which is safe as the name of a file."""
    word = re.sub("[^A-Za-z0-9_-]", "-", str(key)) or "-"
    return f"{name}.{word}" if name else word


def holds_tensor(value: object, seen: set[int]) -> bool:
    """Report whether a value is a tensor or holds one. `seen` breaks cycles."""
    if isinstance(value, torch.Tensor):
        return True
    if id(value) in seen:
        return False
    seen.add(id(value))
    return any(holds_tensor(child, seen) for child in children(value).values())


def children(value: object) -> dict:
    """Return the parts of a container by key, none for a leaf."""
    if isinstance(value, torch.Tensor):
        return {}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return dict(zip(value._fields, value, strict=True))
    if isinstance(value, (tuple, list)):
        return dict(enumerate(value))
    if isinstance(value, Mapping):
        return dict(value)
    return dict(vars(value)) if hasattr(value, "__dict__") and not isinstance(value, OPAQUE) else {}


def parts(value: object) -> tuple[dict, Callable[[dict], object]]:
    """Return the parts of a container that holds a tensor, and how to make one from other parts."""
    kind, inner = type(value), children(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return inner, lambda made: kind(*made.values())
    if isinstance(value, (tuple, list)):
        return inner, lambda made: kind(made.values())
    if isinstance(value, Mapping):
        return inner, lambda made: mapping_like(value, made)
    held = {key: child for key, child in inner.items() if holds_tensor(child, {id(value)})}
    return held, lambda made: object_like(value, made)


def mapping_like(value: Mapping, made: dict) -> Mapping:
    """Return a mapping of the same class with other values, such as a ModelOutput."""
    if type(value) is dict or not hasattr(value, "__setitem__"):
        return made
    like = copy.copy(value)
    for key, child in made.items():
        like[key] = child
    return like


def object_like(value: object, made: dict) -> object:
    """Return a copy of an object with other values in some attributes, such as a key-value cache."""
    like = copy.copy(value)
    for key, child in vars(value).items():
        object.__setattr__(like, key, made[key] if key in made else copy.deepcopy(child))
    return like
