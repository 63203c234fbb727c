"""Norms."""

import math

import torch

from pyref.capture.graph.aten.arguments import Converted, Converter, Part, refuse, shape_of


def layer_norm(a: dict, shape: list[int]) -> Converted | list[Converted]:
    """Convert a LayerNorm. Several dimensions are flattened into one."""
    kept = len(a["normalized_shape"])
    operands = [a["input"], a["weight"], a["bias"]]
    if kept == 1:
        return "layer_norm", operands, {"eps": a["eps"]}
    width = math.prod(shape[-kept:])
    nodes: list[Converted] = []
    for i, operand in enumerate(operands):
        if operand is not None:
            flat = [*shape[:-kept], width] if i == 0 else [width]
            nodes.append(("reshape", [operand], {"shape": flat}))
            operands[i] = Part(len(nodes) - 1)
    nodes.append(("layer_norm", operands, {"eps": a["eps"]}))
    return [*nodes, ("reshape", [Part(len(nodes) - 1)], {"shape": shape})]


def rms_norm(a: dict, _: list[int]) -> Converted:
    """Convert torch.nn.functional.rms_norm. Without an eps PyTorch takes the dtype's own."""
    refuse("rms_norm over several dimensions", len(a["normalized_shape"]) != 1)
    eps = a["eps"] if a["eps"] is not None else torch.finfo(torch.float64).eps
    return "rms_norm", [a["input"], a["weight"]], {"eps": eps, "offset": 0.0}


def group_norm(a: dict, _: list[int]) -> Converted:
    """Convert a group norm."""
    return "group_norm", [a["input"], a["weight"], a["bias"]], {"groups": a["num_groups"], "eps": a["eps"]}


def instance_norm(a: dict, _: list[int]) -> Converted:
    """Convert a norm of each channel, which is a group of its own."""
    refuse("instance_norm with running statistics", not a["use_input_stats"])
    groups = shape_of(a["input"])[1]
    return "group_norm", [a["input"], a["weight"], a["bias"]], {"groups": groups, "eps": a["eps"]}


def batch_norm(a: dict, _: list[int]) -> Converted:
    """Convert a batch norm with running statistics."""
    refuse("batch_norm with the batch's own statistics", a.get("training") or a["running_mean"] is None)
    operands = [a[name] for name in ("input", "weight", "bias", "running_mean", "running_var")]
    return "batch_norm", operands, {"eps": a["eps"]}


CONVERTERS: dict[str, Converter] = {
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "group_norm": group_norm,
    "instance_norm": instance_norm,
    "batch_norm": batch_norm,
}

RESULTS: dict[tuple[str, int], Converter] = {("_native_batch_norm_legit_no_training", 0): batch_norm}
