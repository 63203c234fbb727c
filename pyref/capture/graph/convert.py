"""From PyTorch's ATen operators to the operators of a graph.

Each converter gets the arguments of an ATen node by name, with their defaults, and the shape of the
result. It returns op, operands and attributes. `evaluate` has the operators.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from pyref.capture.graph.export import Traced
from pyref.capture.graph.node import Graph, Node, Operand

Converted = tuple[str, list, dict]


@dataclass(frozen=True)
class Part:
    """An operand that is an earlier node of the same conversion, by its place."""

    place: int


class NoOperator(ValueError):
    """An operator that graphs do not have."""


def convert(traced: Traced) -> Graph:
    """Return the graph of a traced module."""
    return Conversion(traced).graph()


class Conversion:
    """The state of one conversion: the new name of every value, and the nodes so far."""

    def __init__(self, traced: Traced):
        """Give the inputs and parameters their names."""
        self.traced = traced
        self.names: dict[str, str] = {}
        self.taken: set[str] = set()
        self.constants: dict[str, np.ndarray] = {}
        self.nodes: list[Node] = []
        self.names.update(traced.parameters)
        self.taken.update(traced.parameters.values())
        self.inputs = {self.name(node, role): role for node, role in traced.inputs.items()}

    def graph(self) -> Graph:
        """Convert the nodes, and keep what the output needs."""
        for node in self.traced.nodes:
            if node.name not in self.traced.constant:
                self.add(node)
        output = self.names[self.traced.output]
        parameters = tuple(dict.fromkeys(self.traced.parameters.values()))
        return Graph(self.inputs, parameters, self.constants, tuple(self.nodes), output).needed()

    def name(self, node: str, wanted: str) -> str:
        """Name the value of an exported node: as wanted, or longer if the name is taken."""
        while wanted in self.taken:
            wanted += "_"
        self.taken.add(wanted)
        self.names[node] = wanted
        return wanted

    def add(self, node: torch.fx.Node) -> None:
        """Convert one node. A node that changes no number gets the name of its source."""
        target = str(node.target).removeprefix("aten.")
        if target in IGNORED:
            return
        if target.split(".")[0] in SPLITS | {name for name, _ in RESULTS}:
            return  # each of its results becomes a node
        if node.target is operator.getitem:
            converted = [self.part(node)]
        elif target.split(".")[0] in CONVERTERS:
            shape = list(self.traced.values[node.name].shape)
            converted = CONVERTERS[target.split(".")[0]](bound(node), shape)
            converted = converted if isinstance(converted, list) else [converted]
        else:
            raise NoOperator(f"no operator for {node.target} in {place(node)[0] or 'the module'}")
        self.put(node, self.added_mask(node, target.split(".")[0]) or converted)

    def added_mask(self, node: torch.fx.Node, target: str) -> list[Converted] | None:
        """Return the sum of scores and a constant mask, for scores that a constant condition hides.

        A score of the least float has the weight of -inf, zero, unless a query sees no key.
        The caller compares the output, and refuses the graph then.
        """
        if target not in ("masked_fill", "where") or not isinstance(node.args[0], torch.fx.Node):
            return None
        a = bound(node)
        condition, scores, value = (
            (a["mask"], a["self"], a["value"])
            if target == "masked_fill"
            else (a["condition"], a["self"], a["other"])
        )
        if not isinstance(value, float) or value > HIDDEN or condition.name not in self.traced.constant:
            return None
        hidden = self.traced.values[condition.name].numpy()
        hidden = hidden if target == "masked_fill" else ~hidden
        mask = f"{node.name}.mask"
        self.constant(mask, np.where(hidden, -np.inf, 0.0))
        return [("add", [scores, self.names[mask]], {})]

    def put(self, node: torch.fx.Node, converted: list[Converted]) -> None:
        """Add the nodes that one exported node became. The last has its value."""
        op, operands, attributes = converted[-1]
        if op == "same" or self.moves_nothing(node, op, operands, attributes):
            self.names[node.name] = self.operand(operands[0])
            return
        parts: list[str] = []
        for i, (op, operands, attributes) in enumerate(converted):
            resolved = tuple(parts[o.place] if isinstance(o, Part) else self.operand(o) for o in operands)
            key = node.name if i == len(converted) - 1 else f"{node.name}.{i}"
            parts.append(self.name(key, key))
            self.nodes.append(Node(parts[-1], op, resolved, attributes, *place(node)))

    def moves_nothing(self, node: torch.fx.Node, op: str, operands: list, attributes: dict) -> bool:
        """Report whether a node gives its operand's elements in the same shape and order."""
        if op not in MOVES or not isinstance(operands[0], torch.fx.Node):
            return False
        if self.traced.values[operands[0].name].shape != self.traced.values[node.name].shape:
            return False
        return op != "permute" or attributes["dims"] == sorted(attributes["dims"])

    def part(self, node: torch.fx.Node) -> Converted:
        """Return the node that is one result of an operator with several."""
        source, index = node.args
        arguments, target = bound(source), str(source.target).removeprefix("aten.").split(".")[0]
        if target in SPLITS:
            dim = arguments["dim"] % arguments["self"].meta["val"].dim()
            sizes = [part.shape[dim] for part in self.traced.values[source.name]]
            start = sum(sizes[:index])
            return (
                "slice",
                [arguments["self"]],
                {"dim": dim, "start": start, "stop": start + sizes[index], "step": 1},
            )
        if (target, index) in RESULTS:
            return RESULTS[target, index](arguments, list(self.traced.values[node.name].shape))
        raise NoOperator(
            f"no operator for result {index} of {source.target} in {place(node)[0] or 'the module'}"
        )

    def operand(self, value: object) -> Operand:
        """Return the name or the number that stands for an argument."""
        if not isinstance(value, torch.fx.Node):
            return value
        if value.name not in self.names:
            self.constant(value.name, self.traced.values[value.name].detach().numpy())
        return self.names[value.name]

    def constant(self, node: str, array: np.ndarray) -> None:
        """Name a constant: as an equal input or constant, or as its node."""
        for placeholder in self.traced.inputs:
            if same(self.traced.values[placeholder], array):
                self.names[node] = self.names[placeholder]
                return
        for name, other in self.constants.items():
            if same(other, array):
                self.names[node] = name
                return
        self.constants[self.name(node, node)] = array


def same(value: object, array: np.ndarray) -> bool:
    """Report whether a value is an array with the same elements."""
    value = value.numpy() if isinstance(value, torch.Tensor) else value
    if not isinstance(value, np.ndarray) or value.dtype != array.dtype:
        return False
    return np.array_equal(value, array)


def place(node: torch.fx.Node) -> tuple[str, str]:
    """Return the path and the class of the module that asked for a node."""
    stack = node.meta.get("nn_module_stack") or {}
    for path, kind in reversed(stack.values()):
        return path, str(kind).rsplit(".", 1)[-1]
    return "", ""


def bound(node: torch.fx.Node) -> dict[str, object]:
    """Return the arguments of an ATen node by name, with the defaults of its schema."""
    arguments = {}
    for i, argument in enumerate(node.target._schema.arguments):
        if i < len(node.args):
            arguments[argument.name] = node.args[i]
        else:
            arguments[argument.name] = node.kwargs.get(argument.name, argument.default_value)
    return arguments


def unary(op: str) -> Callable[[dict, list[int]], Converted]:
    """Return a converter for an elementwise function of one tensor."""
    return lambda a, _: (op, [a.get("self", a.get("input"))], {})


def binary(op: str) -> Callable[[dict, list[int]], Converted]:
    """Return a converter for an elementwise function of two operands."""

    def converter(a: dict, _: list[int]) -> Converted:
        if a.get("alpha", 1) != 1 or a.get("rounding_mode") is not None:
            raise NoOperator(f"no operator for {op} with alpha or rounding")
        return op, [a["self"], a["other"]], {}

    return converter


def reduction(op: str) -> Callable[[dict, list[int]], Converted]:
    """Return a converter for a reduction over some dimensions."""

    def converter(a: dict, _: list[int]) -> Converted:
        count = a["self"].meta["val"].dim()
        dims = a["dim"] if a.get("dim") else list(range(count))
        dims = [dims] if isinstance(dims, int) else dims
        return (
            op,
            [a["self"]],
            {"dims": sorted(dim % count for dim in dims), "keep": bool(a.get("keepdim", False))},
        )

    return converter


def reshape(a: dict, shape: list[int]) -> Converted:
    """Convert every operator that only gives the same elements another shape."""
    return "reshape", [a["self"]], {"shape": shape}


def slice_(a: dict, _: list[int]) -> Converted:
    """Convert a slice, with its borders inside the dimension."""
    sizes = a["self"].meta["val"].shape
    dim = a["dim"] % len(sizes)
    start, stop, step = slice(a["start"], a["end"], a["step"]).indices(sizes[dim])
    return "slice", [a["self"]], {"dim": dim, "start": start, "stop": max(start, stop), "step": step}


def select(a: dict, _: list[int]) -> Converted:
    """Convert the choice of one index of a dimension."""
    sizes = a["self"].meta["val"].shape
    dim = a["dim"] % len(sizes)
    return "select", [a["self"]], {"dim": dim, "index": a["index"] % sizes[dim]}


def transpose(a: dict, shape: list[int]) -> Converted:
    """Convert an exchange of two dimensions."""
    dims = list(range(len(shape)))
    first, second = a.get("dim0", 0), a.get("dim1", 1)
    dims[first], dims[second] = dims[second], dims[first]
    return "permute", [a["self"]], {"dims": dims}


def addmm(a: dict, _: list[int]) -> Converted:
    """Convert the product of Hugging Face's Conv1D, whose weight has the shape (in, out)."""
    if (a["beta"], a["alpha"]) != (1, 1):
        raise NoOperator("no operator for addmm with factors")
    return "linear", [a["mat1"], a["mat2"], a["self"]], {"weight": "in, out"}


def attention(a: dict, _: list[int]) -> Converted:
    """Convert torch.nn.functional.scaled_dot_product_attention."""
    if a["dropout_p"] != 0:
        raise NoOperator("no operator for attention with dropout")
    scale = a["scale"] if a["scale"] is not None else a["query"].meta["val"].shape[-1] ** -0.5
    attributes = {"scale": float(scale), "softcap": None, "causal": a["is_causal"]}
    return "attention", [a["query"], a["key"], a["value"], a["attn_mask"]], attributes


def softmax(a: dict, shape: list[int]) -> Converted:
    """Convert a softmax over one dimension."""
    return "softmax", [a["self"]], {"dim": a["dim"] % len(shape)}


def cat(a: dict, shape: list[int]) -> Converted:
    """Convert a concatenation."""
    return "cat", list(a["tensors"]), {"dim": a["dim"] % len(shape)}


def layer_norm(a: dict, _: list[int]) -> Converted:
    """Convert a LayerNorm over the last dimension."""
    if len(a["normalized_shape"]) != 1:
        raise NoOperator("no operator for a LayerNorm over several dimensions")
    return "layer_norm", [a["input"], a["weight"], a["bias"]], {"eps": a["eps"]}


def dropout(a: dict, _: list[int]) -> Converted:
    """Convert a dropout that does nothing."""
    if a["train"] and a["p"]:
        raise NoOperator("no operator for dropout")
    return "same", [a["input"]], {}


def copy(a: dict, _: list[int]) -> Converted:
    """Convert a copy. All floats of a graph have one precision."""
    return "same", [a["self"]], {}


def baddbmm(a: dict, shape: list[int]) -> list[Converted]:
    """Convert beta input + alpha left right."""
    if a["beta"] != 1:
        raise NoOperator("no operator for baddbmm with beta")
    return [
        ("matmul", [a["batch1"], a["batch2"]], {}),
        ("mul", [Part(0), a["alpha"]], {}),
        ("add", [Part(1), a["self"]], {}),
    ]


def stack(a: dict, shape: list[int]) -> list[Converted]:
    """Convert a concatenation along a new dimension."""
    dim, count = a["dim"] % len(shape), len(a["tensors"])
    one = [*shape[:dim], 1, *shape[dim + 1 :]]
    parts = [("reshape", [tensor], {"shape": one}) for tensor in a["tensors"]]
    return [*parts, ("cat", [Part(i) for i in range(count)], {"dim": dim})]


def index(a: dict, _: list[int]) -> Converted:
    """Convert the choice of elements by arrays of indices in neighbouring dimensions."""
    dims = [i for i, indices in enumerate(a["indices"]) if indices is not None]
    if dims != list(range(dims[0], dims[0] + len(dims))) or dims[0] + len(dims) > 3:
        raise NoOperator("no operator for indices in dimensions that are no neighbours")
    return "index", [a["self"], *(a["indices"][dim] for dim in dims)], {"dims": dims}


def repeat_interleave(a: dict, shape: list[int]) -> Converted:
    """Convert the repetition of each slice of a dimension."""
    if a["dim"] is None:
        raise NoOperator("no operator for repeat_interleave without a dimension")
    return "repeat_interleave", [a["self"]], {"dim": a["dim"] % len(shape), "times": a["repeats"]}


def softplus(a: dict, _: list[int]) -> Converted:
    """Convert log(1 + exp(x))."""
    if (a["beta"], a["threshold"]) != (1, 20):
        raise NoOperator("no operator for softplus with beta or threshold")
    return "softplus", [a["self"]], {}


def convolution(dimensions: int) -> Callable[[dict, list[int]], Converted]:
    """Return a converter of a convolution over one or two dimensions."""

    def converter(a: dict, _: list[int]) -> Converted:
        if isinstance(a["padding"], str):
            raise NoOperator("no operator for padding by name")
        several = {
            name: list(a[name]) * (dimensions // len(a[name])) for name in ("stride", "padding", "dilation")
        }
        return "convolution", [a["input"], a["weight"], a["bias"]], several | {"groups": a["groups"]}

    return converter


def max_pool(a: dict, _: list[int]) -> Converted:
    """Convert a max pool over two dimensions."""
    if a["ceil_mode"] or set(a["dilation"]) != {1}:
        raise NoOperator("no operator for max_pool2d with ceil_mode or dilation")
    kernel = list(a["kernel_size"])
    return (
        "max_pool",
        [a["self"]],
        {"kernel": kernel, "stride": list(a["stride"]) or kernel, "padding": list(a["padding"])},
    )


def average_pool(a: dict, _: list[int]) -> Converted:
    """Convert the mean over all pixels."""
    if list(a["output_size"]) != [1, 1]:
        raise NoOperator("no operator for adaptive_avg_pool2d to several pixels")
    rank = a["self"].meta["val"].dim()
    return "mean", [a["self"]], {"dims": [rank - 2, rank - 1], "keep": True}


def batch_norm(a: dict, _: list[int]) -> Converted:
    """Convert a batch norm with running statistics."""
    operands = [a[name] for name in ("input", "weight", "bias", "running_mean", "running_var")]
    return "batch_norm", operands, {"eps": a["eps"]}


def topk(op: str) -> Callable[[dict, list[int]], Converted]:
    """Return a converter of one result of topk."""

    def converter(a: dict, shape: list[int]) -> Converted:
        if not a["largest"]:
            raise NoOperator("no operator for the smallest elements")
        return op, [a["self"]], {"dim": a["dim"] % len(shape), "count": a["k"]}

    return converter


HIDDEN = -1e30  # a score of at most this has no weight in a softmax
IGNORED = {
    "_assert_tensor_metadata.default",
    "_assert_scalar.default",
    "sym_constrain_range_for_size.default",
}
SPLITS = {"split", "split_with_sizes", "chunk", "unbind"}
MOVES = {"reshape", "permute", "expand", "slice"}
UNARY = ("neg", "exp", "log", "sqrt", "rsqrt", "tanh", "sigmoid", "silu", "relu", "sin", "cos", "abs", "erf")

CONVERTERS: dict[str, Callable[[dict, list[int]], Converted]] = {
    **{op: unary(op) for op in UNARY},
    **{op: binary(op) for op in ("add", "sub", "mul", "div")},
    **{aten: reduction(op) for aten, op in (("mean", "mean"), ("sum", "sum"), ("amax", "max"))},
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "flatten", "unsqueeze", "squeeze"), reshape),
    **dict.fromkeys(("alias", "clone", "_to_copy", "detach", "contiguous", "to", "type_as"), copy),
    "pow": lambda a, _: ("pow", [a["self"], a["exponent"]], {}),
    "gelu": lambda a, _: ("gelu", [a["self"]], {"approximate": a["approximate"]}),
    "linear": lambda a, _: ("linear", [a["input"], a["weight"], a["bias"]], {"weight": "out, in"}),
    "embedding": lambda a, _: ("embedding", [a["weight"], a["indices"]], {}),
    "expand": lambda a, shape: ("expand", [a["self"]], {"shape": shape}),
    "permute": lambda a, shape: ("permute", [a["self"]], {"dims": [dim % len(shape) for dim in a["dims"]]}),
    "matmul": lambda a, _: ("matmul", [a["self"], a["other"]], {}),
    "bmm": lambda a, _: ("matmul", [a["self"], a["mat2"]], {}),
    "mm": lambda a, _: ("matmul", [a["self"], a["mat2"]], {}),
    "transpose": transpose,
    "t": transpose,
    "slice": slice_,
    "select": select,
    "cat": cat,
    "softmax": softmax,
    "_softmax": softmax,
    "layer_norm": layer_norm,
    "addmm": addmm,
    "scaled_dot_product_attention": attention,
    "dropout": dropout,
    "baddbmm": baddbmm,
    "stack": stack,
    "index": index,
    "repeat_interleave": repeat_interleave,
    "softplus": softplus,
    "where": lambda a, _: ("where", [a["condition"], a["self"], a["other"]], {}),
    "masked_fill": lambda a, _: ("where", [a["mask"], a["value"], a["self"]], {}),
    "clamp": lambda a, _: ("clamp", [a["self"], a["min"], a["max"]], {}),
    "conv1d": convolution(1),
    "conv2d": convolution(2),
    "max_pool2d": max_pool,
    "adaptive_avg_pool2d": average_pool,
}

# Operators with several results: a converter for each result that has one.
RESULTS: dict[tuple[str, int], Callable[[dict, list[int]], Converted]] = {
    ("topk", 0): topk("topk"),
    ("topk", 1): topk("topk_indices"),
    ("max", 0): lambda a, _: reduction("max")(a, _),
    ("_native_batch_norm_legit_no_training", 0): batch_norm,
}
