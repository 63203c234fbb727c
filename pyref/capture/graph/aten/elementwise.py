"""Elementwise functions and reductions."""

import math

import torch

from pyref.capture.graph.aten.arguments import Converted, Converter, Part, dtype_of, refuse, shape_of

UNARY = (
    *("neg", "exp", "log", "sqrt", "rsqrt", "tanh", "sigmoid", "silu", "relu", "sin", "cos", "abs", "erf"),
    *("log1p", "expm1", "sign", "floor", "ceil", "round", "trunc", "hardswish", "hardsigmoid", "mish"),
    "logical_not",
)
BINARY = ("maximum", "minimum", "atan2", "eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or")
LOGICAL = {"bitwise_and": "logical_and", "bitwise_or": "logical_or", "bitwise_not": "logical_not"}


def unary(op: str) -> Converter:
    """Return a converter for an elementwise function of one tensor."""
    return lambda a, _: (op, [a.get("self", a.get("input"))], {})


def binary(op: str) -> Converter:
    """Return a converter for an elementwise function of two operands."""

    def converter(a: dict, _: list[int]) -> Converted:
        return op, [a["self"], a["other"]], {}

    return converter


def logical(op: str) -> Converter:
    """Return a converter for an operator on bits, of booleans only."""

    def converter(a: dict, _: list[int]) -> Converted:
        operands = [a[name] for name in ("self", "other") if name in a]
        refuse(f"{op} of integers", any(dtype_of(operand) not in (None, torch.bool) for operand in operands))
        return op, operands, {}

    return converter


def sum_of(op: str) -> Converter:
    """Return a converter for self + alpha other, or self - alpha other."""

    def converter(a: dict, _: list[int]) -> Converted | list[Converted]:
        if a.get("alpha", 1) == 1:
            return op, [a["self"], a["other"]], {}
        return [("mul", [a["other"], a["alpha"]], {}), (op, [a["self"], Part(0)], {})]

    return converter


def divide(a: dict, _: list[int]) -> Converted | list[Converted]:
    """Convert a division, which may round."""
    rounds = {"floor": "floor", "trunc": "trunc"}
    quotient = ("div", [a["self"], a["other"]], {})
    mode = a.get("rounding_mode")
    return quotient if mode is None else [quotient, (rounds[mode], [Part(0)], {})]


def remainder(a: dict, _: list[int]) -> list[Converted]:
    """Convert x - y floor(x / y)."""
    return [
        ("div", [a["self"], a["other"]], {}),
        ("floor", [Part(0)], {}),
        ("mul", [Part(1), a["other"]], {}),
        ("sub", [a["self"], Part(2)], {}),
    ]


def round_(a: dict, _: list[int]) -> Converted:
    """Convert rounding to an integer, half to even."""
    refuse("round with decimals", a.get("decimals", 0))
    return "round", [a["self"]], {}


def clamp(a: dict, _: list[int]) -> Converted:
    """Convert bounds of a value. Either may be absent."""
    return "clamp", [a["self"], a.get("min", a.get("min_val")), a.get("max", a.get("max_val"))], {}


def elu(a: dict, _: list[int]) -> Converted:
    """Convert x for x > 0, alpha (exp(x) - 1) elsewhere."""
    refuse("elu with scales", (a["scale"], a["input_scale"]) != (1, 1))
    return "elu", [a["self"], a["alpha"]], {}


def selu(a: dict, _: list[int]) -> list[Converted]:
    """Convert PyTorch's scaled ELU."""
    alpha, scale = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
    return [("elu", [a["self"], alpha], {}), ("mul", [Part(0), scale], {})]


def prelu(a: dict, shape: list[int]) -> list[Converted]:
    """Convert a leaky ReLU whose slope is a parameter, of each channel or of all."""
    width = shape_of(a["weight"])[-1]
    place = [width if dim == 1 else 1 for dim in range(len(shape))] if width > 1 else [1]
    return [("reshape", [a["weight"]], {"shape": place}), ("leaky_relu", [a["self"], Part(0)], {})]


def softplus(a: dict, _: list[int]) -> Converted:
    """Convert log(1 + exp(x))."""
    refuse("softplus with beta or threshold", (a["beta"], a["threshold"]) != (1, 20))
    return "softplus", [a["self"]], {}


def glu(a: dict, shape: list[int]) -> list[Converted]:
    """Convert the product of one half with the sigmoid of the other."""
    dim = a["dim"] % len(shape)
    size = shape[dim]
    halves = [{"dim": dim, "start": i * size, "stop": (i + 1) * size, "step": 1} for i in (0, 1)]
    return [
        ("slice", [a["self"]], halves[0]),
        ("slice", [a["self"]], halves[1]),
        ("sigmoid", [Part(1)], {}),
        ("mul", [Part(0), Part(2)], {}),
    ]


def cast(a: dict, _: list[int]) -> Converted:
    """Convert a copy, maybe to another kind of numbers. All floats of a graph have one precision."""
    before, after = dtype_of(a["self"]), a.get("dtype")
    if after is None or before is None or before == after:
        return "same", [a["self"]], {}
    if after == torch.bool:
        return "ne", [a["self"], 0.0], {}
    if before == torch.bool:
        return "mul", [a["self"], 1.0], {}
    if before.is_floating_point and not after.is_floating_point:
        return "trunc", [a["self"]], {}
    return "same", [a["self"]], {}


def reduction(op: str) -> Converter:
    """Return a converter for a reduction over some dimensions."""

    def converter(a: dict, _: list[int]) -> Converted:
        count = len(shape_of(a["self"]))
        dims = a["dim"] if a.get("dim") not in (None, []) else list(range(count))
        dims = [dims] if isinstance(dims, int) else dims
        return (
            op,
            [a["self"]],
            {"dims": sorted(dim % count for dim in dims), "keep": bool(a.get("keepdim", False))},
        )

    return converter


def truth(op: str) -> Converter:
    """Return a converter for any or all."""
    reduce = reduction(op)

    def converter(a: dict, shape: list[int]) -> list[Converted]:
        _, _, attributes = reduce(a, shape)
        return [("ne", [a["self"], 0.0], {}), (op, [Part(0)], attributes)]

    return converter


def variance(a: dict, shape: list[int]) -> list[Converted]:
    """Convert a variance over some dimensions, with its correction."""
    sizes = shape_of(a["self"])
    _, _, attributes = reduction("mean")(a, shape)
    correction = a.get("correction", None if a.get("unbiased", True) else 0)
    count = math.prod(sizes[dim] for dim in attributes["dims"])
    free = count - (1 if correction is None else correction)
    nodes = [
        ("mean", [a["self"]], attributes | {"keep": True}),
        ("sub", [a["self"], Part(0)], {}),
        ("pow", [Part(1), 2], {}),
        ("mean", [Part(2)], attributes),
    ]
    return nodes if free == count else [*nodes, ("mul", [Part(3), count / free], {})]


def deviation(a: dict, shape: list[int]) -> list[Converted]:
    """Convert a standard deviation."""
    nodes = variance(a, shape)
    return [*nodes, ("sqrt", [Part(len(nodes) - 1)], {})]


def logsumexp(a: dict, shape: list[int]) -> list[Converted]:
    """Convert the logarithm of a sum of exponentials, after the largest is taken off."""
    _, _, attributes = reduction("max")(a, shape)
    kept = [1 if dim in attributes["dims"] else size for dim, size in enumerate(shape_of(a["self"]))]
    return [
        ("max", [a["self"]], attributes | {"keep": True}),
        ("sub", [a["self"], Part(0)], {}),
        ("exp", [Part(1)], {}),
        ("sum", [Part(2)], attributes | {"keep": True}),
        ("log", [Part(3)], {}),
        ("add", [Part(4), Part(0)], {}),
        ("reshape", [Part(5)], {"shape": shape if shape != kept else kept}),
    ]


def vector_norm(a: dict, shape: list[int]) -> list[Converted]:
    """Convert a Euclidean norm."""
    refuse("norms other than the Euclidean", a["ord"] != 2)
    _, _, attributes = reduction("sum")(a, shape)
    return [
        ("pow", [a["self"], 2], {}),
        ("sum", [Part(0)], attributes),
        ("sqrt", [Part(1)], {}),
    ]


def scan(op: str) -> Converter:
    """Return a converter for sums or products of the elements so far."""
    return lambda a, shape: (op, [a["self"]], {"dim": a["dim"] % len(shape)})


CONVERTERS: dict[str, Converter] = {
    **{op: unary(op) for op in UNARY},
    **{op: binary(op) for op in BINARY},
    **{aten: logical(op) for aten, op in LOGICAL.items()},
    **{op: sum_of(op) for op in ("add", "sub")},
    **{aten: reduction(op) for aten, op in (("mean", "mean"), ("sum", "sum"), ("amax", "max"))},
    **{
        aten: reduction(op)
        for aten, op in (("amin", "min"), ("prod", "prod"), ("max", "max"), ("min", "min"))
    },
    **{aten: truth(op) for aten, op in (("any", "max"), ("all", "min"))},
    **dict.fromkeys(("alias", "clone", "detach", "contiguous", "type_as", "lift_fresh_copy"), unary("same")),
    **dict.fromkeys(("_to_copy", "to"), cast),
    **dict.fromkeys(("clamp", "clamp_min", "clamp_max", "hardtanh"), clamp),
    "relu6": lambda a, _: ("clamp", [a["self"], 0.0, 6.0], {}),
    "mul": binary("mul"),
    "div": divide,
    "rsub": lambda a, _: sum_of("sub")({"self": a["other"], "other": a["self"], "alpha": a["alpha"]}, _),
    "remainder": remainder,
    "square": lambda a, _: ("pow", [a["self"], 2], {}),
    "reciprocal": lambda a, _: ("div", [1.0, a["self"]], {}),
    "pow": lambda a, _: ("pow", [a["self"], a["exponent"]], {}),
    "round": round_,
    "gelu": lambda a, _: ("gelu", [a["self"]], {"approximate": a["approximate"]}),
    "leaky_relu": lambda a, _: ("leaky_relu", [a["self"], a["negative_slope"]], {}),
    "elu": elu,
    "selu": selu,
    "prelu": prelu,
    "softplus": softplus,
    "glu": glu,
    "var": variance,
    "std": deviation,
    "logsumexp": logsumexp,
    "linalg_vector_norm": vector_norm,
    "cumsum": scan("cumsum"),
}

RESULTS: dict[tuple[str, int], Converter] = {
    ("max", 0): reduction("max"),
    ("min", 0): reduction("min"),
}
