"""The operators of a graph in PyTorch, in float64: one entry each."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch.nn import functional

from pyref.capture.graph import recurrence
from pyref.capture.graph.node import Graph


def evaluate(graph: Graph, inputs: Mapping[str, np.ndarray], parameters: Mapping[str, np.ndarray]) -> dict:
    """Return every value of a graph by its name.

    `inputs` holds arrays by role, and `parameters` by their keys in the state dict.
    """
    values: dict[str, torch.Tensor] = {}
    for name, role in graph.inputs.items():
        values[name] = tensor(inputs[role])
    for key in graph.parameters:
        values[key] = tensor(parameters[key])
    for name, array in graph.constants.items():
        values[name] = tensor(array)
    for node in graph.nodes:
        values[node.name] = compute(node, values)
    return values


def compute(node, values: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return the value of one node."""
    operands = [values[operand] if isinstance(operand, str) else operand for operand in node.operands]
    return OPERATORS[node.op](*operands, **node.attributes)


def tensor(array: np.ndarray) -> torch.Tensor:
    """Return an array as a tensor, floats in float64."""
    return torch.from_numpy(array.astype(np.float64) if array.dtype.kind == "f" else array.copy())


def elementwise(function: Callable) -> Callable:
    """Return an operator that takes tensors or numbers."""
    return lambda *operands: function(*map(as_tensor, operands))


def as_tensor(operand: torch.Tensor | float) -> torch.Tensor:
    """Return a number as a tensor in float64, and a tensor unchanged."""
    return operand if isinstance(operand, torch.Tensor) else torch.as_tensor(operand, dtype=torch.float64)


def attend(query, key, value, mask, sinks=None, *, scale, softcap, causal):
    """Return the softmax of the scores, times the values. `sinks` are scores without a key."""
    scores = query @ key.transpose(-1, -2) * scale
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if causal:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
        scores = scores.masked_fill(~seen, -torch.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    if sinks is not None:
        column = sinks.reshape(-1, 1, 1).expand(*scores.shape[:-1], 1)
        scores = torch.cat([scores, column], dim=-1)
    weights = torch.softmax(scores, dim=-1).nan_to_num(0.0)  # a row without keys is zero
    return weights[..., : key.shape[-2]] @ value


def gelu(x, *, approximate, factor=None):
    """Return GELU. Some models round the factor sqrt(2 / pi) of its approximation."""
    if factor is None:
        return functional.gelu(x, approximate=approximate)
    return 0.5 * x * (1 + torch.tanh(factor * (x + 0.044715 * x**3)))


def rms_norm(x, weight, *, eps, offset):
    """Return x over its root mean square, times the weight plus an offset."""
    normed = x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps)
    return normed if weight is None else normed * (weight + offset)


def rotate(x, cos, sin, *, pairs):
    """Return x with pairs of features rotated by the angles of two tables."""
    if pairs == "halves":
        first, second = x.chunk(2, dim=-1)
        turned = torch.cat([-second, first], dim=-1)
    else:
        turned = torch.stack([-x[..., 1::2], x[..., ::2]], dim=-1).flatten(-2)
    return x * cos + turned * sin


def take(x, *, dim, start, stop, step):
    """Return a slice of one dimension."""
    return x[(slice(None),) * dim + (slice(start, stop, step),)]


def product(x, matrix, bias, *, weight):
    """Return x times a weight of shape (out, in) or (in, out), plus the bias."""
    result = x @ (matrix.T if weight == "out, in" else matrix)
    return result if bias is None else result + bias


def take_indices(x, *indices, dims):
    """Return elements by arrays of indices in neighbouring dimensions."""
    return x[(slice(None),) * dims[0] + tuple(index.long() for index in indices)]


def convolve(x, weight, bias, *, stride, padding, dilation, groups):
    """Return a convolution over the last one to three dimensions."""
    function = getattr(functional, f"conv{len(stride)}d")
    return function(x, weight, bias, stride, padding, dilation, groups)


def convolve_transposed(x, weight, bias, *, stride, padding, output_padding, dilation, groups):
    """Return a transposed convolution over the last one to three dimensions."""
    function = getattr(functional, f"conv_transpose{len(stride)}d")
    return function(x, weight, bias, stride, padding, output_padding, groups, dilation)


def average_pool(x, *, kernel, stride, padding, count_padding):
    """Return the means of windows. Padding counts as zeros, or not at all."""
    function = getattr(functional, f"avg_pool{len(stride)}d")
    return function(x, kernel, stride, padding, count_include_pad=count_padding)


def max_pool(x, *, kernel, stride, padding):
    """Return the largest elements of windows."""
    return getattr(functional, f"max_pool{len(stride)}d")(x, kernel, stride, padding)


INTERPOLATIONS = {
    ("nearest", 1): torch.ops.aten.upsample_nearest1d.default,
    ("nearest", 2): torch.ops.aten.upsample_nearest2d.default,
    ("nearest-exact", 1): torch.ops.aten._upsample_nearest_exact1d.default,
    ("nearest-exact", 2): torch.ops.aten._upsample_nearest_exact2d.default,
    ("linear", 1): torch.ops.aten.upsample_linear1d.default,
    ("linear", 2): torch.ops.aten.upsample_bilinear2d.default,
    ("cubic", 2): torch.ops.aten.upsample_bicubic2d.default,
}


def upsample(x, *, mode, size, steps, corners):
    """Return an interpolation. `steps` are pixels of the input for each pixel of the output."""
    align = () if mode.startswith("nearest") else (corners,)
    return INTERPOLATIONS[mode, len(size)](x, size, *align, *(1 / step for step in steps))


def pad(x, *, before, after, mode, value):
    """Return a padded tensor."""
    widths = [width for pair in zip(before[::-1], after[::-1], strict=True) for width in pair]
    while len(widths) > 2 and widths[-2:] == [0, 0]:
        widths = widths[:-2]
    return functional.pad(x, widths, mode, value if mode == "constant" else None)


def scatter(x, index, new, *, dim):
    """Return a tensor with elements of one dimension replaced."""
    return x.scatter(dim, index, new)


def product_over(x, *, dims, keep):
    """Return the product over some dimensions."""
    for dim in sorted(dims, reverse=True):
        x = x.prod(dim, keep)
    return x


def choose(condition, yes, no):
    """Return elements of one operand where a condition holds, of the other elsewhere."""
    operands = (
        o if isinstance(o, torch.Tensor) else torch.as_tensor(o, dtype=torch.float64) for o in (yes, no)
    )
    return torch.where(condition, *operands)


SHORT_TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}

OPERATORS: dict[str, Callable] = {
    **{op: getattr(torch, op) for op in ("neg", "exp", "log", "sqrt", "rsqrt", "tanh", "sigmoid")},
    **{op: getattr(torch, op) for op in ("sin", "cos", "abs", "erf", "relu")},
    **{op: getattr(torch, op) for op in ("log1p", "expm1", "sign", "floor", "ceil", "round", "trunc")},
    **{op: getattr(functional, op) for op in ("hardswish", "hardsigmoid", "mish")},
    **{op: elementwise(getattr(torch, op)) for op in ("add", "sub", "mul", "div", "pow", "atan2")},
    **{op: elementwise(getattr(torch, op)) for op in ("maximum", "minimum")},
    **{op: elementwise(getattr(torch, op)) for op in ("eq", "ne", "lt", "le", "gt", "ge")},
    **{op: getattr(torch, op) for op in ("logical_and", "logical_or", "logical_not")},
    **{op: lambda x, dtype=dtype: x.float().to(dtype).double() for op, dtype in SHORT_TYPES.items()},
    "leaky_relu": elementwise(lambda x, slope: torch.where(x > 0, x, x * slope)),
    "elu": elementwise(lambda x, alpha: torch.where(x > 0, x, alpha * torch.expm1(x))),
    "silu": functional.silu,
    "gelu": gelu,
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "linear": product,
    "matmul": torch.matmul,
    "embedding": lambda weight, ids: weight[ids],
    "reshape": lambda x, shape: x.reshape(shape),
    "permute": lambda x, dims: x.permute(dims),
    "expand": lambda x, shape: x.expand(shape),
    "slice": take,
    "select": lambda x, dim, index: x.select(dim, index),
    "cat": lambda *parts, dim: torch.cat(parts, dim),
    "mean": lambda x, dims, keep: x.mean(dims, keep),
    "sum": lambda x, dims, keep: x.sum(dims, keep),
    "max": lambda x, dims, keep: x.amax(dims, keep),
    "min": lambda x, dims, keep: x.amin(dims, keep),
    "prod": product_over,
    "cumsum": lambda x, dim: x.cumsum(dim),
    "softmax": lambda x, dim: torch.softmax(x, dim),
    "log_softmax": lambda x, dim: torch.log_softmax(x, dim),
    "layer_norm": lambda x, weight, bias, eps: functional.layer_norm(x, x.shape[-1:], weight, bias, eps),
    "rms_norm": rms_norm,
    "attention": attend,
    "rotary": rotate,
    "repeat_interleave": lambda x, dim, times: x.repeat_interleave(times, dim),
    "softplus": functional.softplus,
    "clamp": torch.clamp,
    "where": choose,
    "index": take_indices,
    "topk": lambda x, dim, count: x.topk(count, dim).values,
    "topk_indices": lambda x, dim, count: x.topk(count, dim).indices,
    "convolution": convolve,
    "convolution_transposed": convolve_transposed,
    "max_pool": max_pool,
    "average_pool": average_pool,
    "upsample": upsample,
    "pad": pad,
    "gather": lambda x, index, dim: x.gather(dim, index),
    "scatter": scatter,
    "scatter_add": lambda x, index, new, dim: x.scatter_add(dim, index, new),
    "group_norm": lambda x, weight, bias, groups, eps: functional.group_norm(x, groups, weight, bias, eps),
    "batch_norm": lambda x, weight, bias, mean, variance, eps: functional.batch_norm(
        x, mean, variance, weight, bias, eps=eps
    ),
    "lstm": recurrence.lstm,
    "lstm_cells": recurrence.lstm_cells,
    "gru": recurrence.gru,
    "rnn": recurrence.rnn,
}
