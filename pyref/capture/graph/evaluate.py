"""The operators of a graph in PyTorch, in float64: one entry each."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch.nn import functional

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

    def apply(*operands):
        return function(
            *(
                torch.as_tensor(operand, dtype=torch.float64)
                if not isinstance(operand, torch.Tensor)
                else operand
                for operand in operands
            )
        )

    return apply


def attend(query, key, value, mask, *, scale, softcap, causal):
    """Return the softmax of the scores, times the values."""
    scores = query @ key.transpose(-1, -2) * scale
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if causal:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
        scores = scores.masked_fill(~seen, -torch.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    weights = torch.softmax(scores, dim=-1).nan_to_num(0.0)  # a row without keys is zero
    return weights @ value


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
    return x[(slice(None),) * dims[0] + indices]


def convolve(x, weight, bias, *, stride, padding, dilation, groups):
    """Return a convolution over the last one or two dimensions."""
    function = functional.conv1d if len(stride) == 1 else functional.conv2d
    return function(x, weight, bias, stride, padding, dilation, groups)


def choose(condition, yes, no):
    """Return elements of one operand where a condition holds, of the other elsewhere."""
    return torch.where(condition, *(torch.as_tensor(operand, dtype=torch.float64) for operand in (yes, no)))


OPERATORS: dict[str, Callable] = {
    **{op: getattr(torch, op) for op in ("neg", "exp", "log", "sqrt", "rsqrt", "tanh", "sigmoid")},
    **{op: getattr(torch, op) for op in ("sin", "cos", "abs", "erf", "relu")},
    **{op: elementwise(getattr(torch, op)) for op in ("add", "sub", "mul", "div", "pow")},
    "silu": functional.silu,
    "gelu": lambda x, approximate: functional.gelu(x, approximate=approximate),
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
    "softmax": lambda x, dim: torch.softmax(x, dim),
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
    "max_pool": lambda x, kernel, stride, padding: functional.max_pool2d(x, kernel, stride, padding),
    "batch_norm": lambda x, weight, bias, mean, variance, eps: functional.batch_norm(
        x, mean, variance, weight, bias, eps=eps
    ),
}
