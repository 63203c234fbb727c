"""What converters get and give."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

# Op, operands and attributes of a node. An operand is an exported node, a number, None, a Part or a
# new constant.
Converted = tuple[str, list, dict]

# A converter gets the arguments of an ATen node by name and the shape of its result. The last of
# several nodes has the value.
Converter = Callable[[dict, list[int]], Converted | list[Converted]]


@dataclass(frozen=True)
class Part:
    """An operand that is an earlier node of the same conversion, by its place."""

    place: int


class NoOperator(ValueError):
    """An operator that graphs do not have."""


def bound(node: torch.fx.Node) -> dict[str, object]:
    """Return the arguments of an ATen node by name, with the defaults of its schema."""
    arguments = {}
    for i, argument in enumerate(node.target._schema.arguments):
        if i < len(node.args):
            arguments[argument.name] = node.args[i]
        else:
            arguments[argument.name] = node.kwargs.get(argument.name, argument.default_value)
    return arguments


def shape_of(operand: torch.fx.Node) -> list[int]:
    """Return the shape of an exported node."""
    return list(operand.meta["val"].shape)


def dtype_of(operand: object) -> torch.dtype | None:
    """Return the dtype of an exported node, None for anything else."""
    value = operand.meta.get("val") if isinstance(operand, torch.fx.Node) else None
    return value.dtype if isinstance(value, torch.Tensor) else None


def refuse(name: str, condition: object) -> None:
    """Raise NoOperator for a use of an operator that graphs do not have."""
    if condition:
        raise NoOperator(f"no operator for {name}")
