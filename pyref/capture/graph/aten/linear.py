"""Products, and attention."""

from pyref.capture.graph.aten.arguments import Converted, Converter, Part, refuse, shape_of


def matmul(a: dict, shape: list[int]) -> Converted | list[Converted]:
    """Convert a product of matrices. A vector counts as a matrix with one row or column."""
    left, right = a["self"], a.get("other", a.get("mat2", a.get("vec", a.get("tensor"))))
    sizes = shape_of(left), shape_of(right)
    if min(map(len, sizes)) > 1:
        return "matmul", [left, right], {}
    nodes, operands = [], []
    for operand, size, grown in ((left, sizes[0], [1, *sizes[0]]), (right, sizes[1], [*sizes[1], 1])):
        if len(size) == 1:
            nodes.append(("reshape", [operand], {"shape": grown}))
            operand = Part(len(nodes) - 1)
        operands.append(operand)
    nodes.append(("matmul", operands, {}))
    return [*nodes, ("reshape", [Part(len(nodes) - 1)], {"shape": shape})]


def addmm(a: dict, _: list[int]) -> Converted | list[Converted]:
    """Convert the product of Hugging Face's Conv1D, whose weight has the shape (in, out)."""
    if (a["beta"], a["alpha"]) == (1, 1) and len(shape_of(a["self"])) == 1:
        return "linear", [a["mat1"], a["mat2"], a["self"]], {"weight": "in, out"}
    return product_sum(a["mat1"], a["mat2"], a)


def baddbmm(a: dict, _: list[int]) -> list[Converted]:
    """Convert beta input + alpha left right."""
    return product_sum(a["batch1"], a["batch2"], a)


def product_sum(left: object, right: object, a: dict) -> list[Converted]:
    """Return nodes for beta input + alpha left right."""
    nodes: list[Converted] = [("matmul", [left, right], {})]
    product, added = Part(0), a["self"]
    if a["alpha"] != 1:
        nodes.append(("mul", [product, a["alpha"]], {}))
        product = Part(len(nodes) - 1)
    if a["beta"] != 1:
        nodes.append(("mul", [added, a["beta"]], {}))
        added = Part(len(nodes) - 1)
    return [*nodes, ("add", [product, added], {})]


def outer(a: dict, _: list[int]) -> list[Converted]:
    """Convert the products of all pairs of elements."""
    column = [*shape_of(a["self"]), 1]
    return [("reshape", [a["self"]], {"shape": column}), ("mul", [Part(0), a["vec2"]], {})]


def attention(a: dict, _: list[int]) -> Converted | list[Converted]:
    """Convert torch.nn.functional.scaled_dot_product_attention. Groups of query heads share keys."""
    refuse("attention with dropout", a["dropout_p"] != 0)
    query, key, value, mask = a["query"], a["key"], a["value"], a["attn_mask"]
    scale = a["scale"] if a["scale"] is not None else shape_of(query)[-1] ** -0.5
    attributes = {"scale": float(scale), "softcap": None, "causal": a["is_causal"]}
    heads = -3 if len(shape_of(query)) > 2 else -1
    times = shape_of(query)[heads] // shape_of(key)[heads]
    if times == 1 or heads == -1:
        return "attention", [query, key, value, mask], attributes
    repeated = {"dim": len(shape_of(key)) - 3, "times": times}
    return [
        ("repeat_interleave", [key], repeated),
        ("repeat_interleave", [value], repeated),
        ("attention", [query, Part(0), Part(1), mask], attributes),
    ]


def dropout(a: dict, _: list[int]) -> Converted:
    """Convert a dropout that does nothing."""
    refuse("dropout", a["train"] and a["p"])
    return "same", [a["input"]], {}


def complex_product(a: dict, shape: list[int]) -> list[Converted]:
    """Convert the product of complex numbers, which graphs hold as pairs in the last dimension."""
    halves = [
        ("slice", [operand], {"dim": len(shape_of(operand)), "start": i, "stop": i + 1, "step": 1})
        for operand in (a["self"], a["other"])
        for i in (0, 1)
    ]
    return [
        *halves,
        ("mul", [Part(0), Part(2)], {}),
        ("mul", [Part(1), Part(3)], {}),
        ("mul", [Part(0), Part(3)], {}),
        ("mul", [Part(1), Part(2)], {}),
        ("sub", [Part(4), Part(5)], {}),
        ("add", [Part(6), Part(7)], {}),
        ("cat", [Part(8), Part(9)], {"dim": len(shape) - 1}),
    ]


def softmax(a: dict, shape: list[int]) -> Converted:
    """Convert a softmax over one dimension."""
    return "softmax", [a["self"]], {"dim": a["dim"] % len(shape)}


def log_softmax(a: dict, shape: list[int]) -> Converted:
    """Convert the logarithm of a softmax over one dimension."""
    return "log_softmax", [a["self"]], {"dim": a["dim"] % len(shape)}


CONVERTERS: dict[str, Converter] = {
    "linear": lambda a, _: ("linear", [a["input"], a["weight"], a["bias"]], {"weight": "out, in"}),
    **dict.fromkeys(("matmul", "bmm", "mm", "mv", "dot"), matmul),
    "addmm": addmm,
    "baddbmm": baddbmm,
    "outer": outer,
    **dict.fromkeys(("softmax", "_softmax"), softmax),
    **dict.fromkeys(("log_softmax", "_log_softmax"), log_softmax),
    "scaled_dot_product_attention": attention,
    "dropout": dropout,
    "embedding": lambda a, _: ("embedding", [a["weight"], a["indices"]], {}),
    **dict.fromkeys(("view_as_complex", "view_as_real"), lambda a, _: ("same", [a["self"]], {})),
}

# Operators on complex numbers.
COMPLEX: dict[str, Converter] = {"mul": complex_product}
