"""Converters from PyTorch's ATen operators to the operators of a graph, by ATen's names."""

import operator

import torch

from pyref.capture.graph.aten import choice, elementwise, images, linear, norms, recurrent, shapes
from pyref.capture.graph.aten.arguments import Converter

ROOMS = (elementwise, shapes, linear, norms, images, choice, recurrent)

CONVERTERS: dict[str, Converter] = {
    name: converter for room in ROOMS for name, converter in getattr(room, "CONVERTERS", {}).items()
}

# Operators with several results: a converter for each result that has one.
RESULTS: dict[tuple[str, int], Converter] = {
    name: converter for room in ROOMS for name, converter in getattr(room, "RESULTS", {}).items()
}

SPLITS = choice.SPLITS

# What a value of complex numbers may go through.
COMPLEX: dict[str, Converter] = {
    **{name: CONVERTERS[name] for name in ("view", "reshape", "unsqueeze", "expand", "slice", "select")},
    **{name: CONVERTERS[name] for name in ("view_as_complex", "alias", "clone")},
    "mul": linear.complex_product,
}

IGNORED = {
    "_assert_tensor_metadata.default",
    "_assert_scalar.default",
    "sym_constrain_range_for_size.default",
}


def name_of(node: torch.fx.Node) -> str:
    """Return an ATen operator's name, without its overload."""
    return str(node.target).removeprefix("aten.").split(".")[0]


def ignored(node: torch.fx.Node) -> bool:
    """Report whether a node only asserts something."""
    return str(node.target).removeprefix("aten.") in IGNORED


def converted(node: torch.fx.Node) -> bool:
    """Report whether an exported node needs no decomposition."""
    name = name_of(node)
    several = SPLITS | {name for name, _ in RESULTS}
    return node.target is operator.getitem or ignored(node) or name in CONVERTERS or name in several
