"""Lifting: several nodes that together are one known operation become one node.

Hugging Face writes RMSNorm, rotary embedding, repeat_kv and GELU as small operations, each model a
little differently. A rule finds them. The lifted node keeps the name of the last node of its
pattern. A rule that moves the value by more than rounding in float64 is not applied.
"""

from collections.abc import Callable, Iterator, Mapping

import torch

from pyref.capture.graph.evaluate import compute
from pyref.capture.graph.node import Graph, Node
from pyref.capture.graph.pattern import N, Op, X, match

SAME = 1e-13  # of the largest element

Rule = Callable[[Node, Mapping[str, Node], Mapping[str, torch.Tensor]], Iterator[Node]]


def lift(graph: Graph, values: Mapping[str, torch.Tensor]) -> Graph:
    """Apply the rules, in their order, to every node of a graph with these values."""
    for rule in RULES:
        nodes = {node.name: node for node in graph.nodes}
        for name, node in list(nodes.items()):
            lifted = next((new for new in rule(node, nodes, values) if agrees(new, values)), None)
            if lifted is not None:
                nodes[name] = lifted.changed(module=lifted.module or node.module)
        graph = Graph(
            graph.inputs, graph.parameters, graph.constants, tuple(nodes.values()), graph.output
        ).needed()
    return graph


def agrees(node: Node, values: Mapping[str, torch.Tensor]) -> bool:
    """Report whether a lifted node has the value of the node with its name."""
    want = values[node.name]
    got = compute(node, values)
    return got.shape == want.shape and bool((got - want).abs().max() <= SAME * want.abs().max())


def rule(pattern: object, build: Callable[[Node, dict, Mapping[str, torch.Tensor]], Node | None]) -> Rule:
    """Return a rule that builds a node wherever a pattern matches."""

    def apply(node: Node, nodes: Mapping[str, Node], values: Mapping[str, torch.Tensor]) -> Iterator[Node]:
        for found in match(nodes, node.name, pattern, {}):
            new = build(node, found, values)
            if new is not None:
                yield new

    return apply


def rms_norm(node: Node, found: dict, _: Mapping[str, torch.Tensor]) -> Node | None:
    """Build an RMSNorm over the last dimension, without a weight."""
    mean = found["mean"]
    if len(mean.attributes["dims"]) != 1 or not mean.attributes["keep"]:
        return None
    return node.changed(
        op="rms_norm", operands=(found["x"], None), attributes={"eps": found["eps"], "offset": 0.0}
    )


def weighted(offset: float) -> Callable:
    """Return a builder that gives an RMSNorm its weight."""

    def build(node: Node, found: dict, values: Mapping[str, torch.Tensor]) -> Node | None:
        norm = found["norm"]
        if norm.operands[1] is not None or values[found["w"]].dim() != 1:
            return None
        return node.changed(
            op="rms_norm",
            operands=(norm.operands[0], found["w"]),
            attributes=norm.attributes | {"offset": offset},
            module=norm.module,
            kind=norm.kind,
        )

    return build


def rotary(node: Node, found: dict, values: Mapping[str, torch.Tensor]) -> Node | None:
    """Build a rotation of features in pairs of one from each half."""
    size = values[found["x"]].shape[-1]
    low, high = found["low"].attributes, found["high"].attributes
    if (low["start"], low["stop"], high["start"], high["stop"]) != (0, size // 2, size // 2, size):
        return None
    operands = (found["x"], found["cos"], found["sin"])
    return node.changed(op="rotary", operands=operands, attributes={"pairs": "halves"})


def repeat_kv(node: Node, found: dict, values: Mapping[str, torch.Tensor]) -> Node | None:
    """Build the repetition of key and value heads for groups of query heads."""
    before, after = values[found["x"]], values[node.name]
    if before.dim() != 4 or after.dim() != 4 or before.shape[1] == after.shape[1]:
        return None
    times = after.shape[1] // before.shape[1]
    return node.changed(op="repeat_interleave", operands=(found["x"],), attributes={"dim": 1, "times": times})


def eager_attention(node: Node, found: dict, values: Mapping[str, torch.Tensor]) -> Node | None:
    """Build attention from the products, the softmax and what lies between them."""
    softmax, turned = found["softmax"], found.get("turned")
    dims = list(range(values[found["k"]].dim()))
    if softmax.attributes["dim"] != values[softmax.name].dim() - 1:
        return None
    if turned is None or turned.attributes["dims"] != [*dims[:-2], dims[-1], dims[-2]]:
        return None
    operands = (found["q"], found["k"], found["v"], found.get("mask"))
    scale = found.get("scale", 1.0) / found.get("divisor", 1.0)
    attributes = {"scale": float(scale), "softcap": found.get("cap"), "causal": False}
    return node.changed(op="attention", operands=operands, attributes=attributes)


def scores() -> Iterator[object]:
    """Yield the ways in which models write the scores."""
    product = Op("matmul", X("q"), Op("permute", X("k"), called="turned"))
    for scaled in (Op("mul", product, N("scale")), Op("div", product, N("divisor")), product):
        capped = Op("mul", Op("tanh", Op("div", scaled, N("cap"))), N("cap"))
        for plain in (capped, scaled):
            yield Op("add", plain, X("mask"))
            yield plain


def unflattened(node: Node, found: dict, values: Mapping[str, torch.Tensor]) -> Node | None:
    """Build a linear layer on an input that the model flattens to a matrix and back."""
    linear = found["linear"]
    if values[found["x"]].shape[:-1] != values[node.name].shape[:-1]:
        return None
    return linear.changed(name=node.name, operands=(found["x"], *linear.operands[1:]))


def becomes(op: str, **attributes: object) -> Callable:
    """Return a builder of an elementwise function."""
    return lambda node, found, _: node.changed(op=op, operands=(found["x"],), attributes=attributes)


def root(variance: object) -> Iterator[object]:
    """Yield the ways in which models divide x by a root."""
    yield Op("mul", X("x"), Op("rsqrt", variance))
    yield Op("div", X("x"), Op("sqrt", variance))


SQUARES = (Op("pow", X("x"), 2), Op("mul", X("x"), X("x")))
VARIANCES = tuple(Op("add", Op("mean", square, called="mean"), N("eps")) for square in SQUARES)
CUBE = Op("mul", Op("pow", X("x"), 3), 0.044715)
INNER = Op("tanh", Op("mul", Op("add", X("x"), CUBE), 0.7978845608028654))

RULES: list[Rule] = [
    *(rule(division, rms_norm) for variance in VARIANCES for division in root(variance)),
    rule(Op("mul", Op("rms_norm", X("x"), None, called="norm"), Op("add", X("w"), 1.0)), weighted(1.0)),
    rule(Op("mul", Op("rms_norm", X("x"), None, called="norm"), X("w")), weighted(0.0)),
    rule(
        Op(
            "add",
            Op("mul", X("x"), X("cos")),
            Op(
                "mul",
                Op("cat", Op("neg", Op("slice", X("x"), called="high")), Op("slice", X("x"), called="low")),
                X("sin"),
            ),
        ),
        rotary,
    ),
    rule(Op("reshape", Op("expand", Op("reshape", X("x")))), repeat_kv),
    *(rule(Op("matmul", Op("softmax", way, called="softmax"), X("v")), eager_attention) for way in scores()),
    rule(Op("mul", Op("mul", X("x"), 0.5), Op("add", INNER, 1.0)), becomes("gelu", approximate="tanh")),
    rule(Op("mul", X("x"), Op("sigmoid", Op("mul", X("x"), 1.702))), becomes("quick_gelu")),
    rule(Op("mul", X("x"), Op("sigmoid", X("x"))), becomes("silu")),
    rule(Op("reshape", Op("linear", Op("reshape", X("x")), X("w"), X("b"), called="linear")), unflattened),
]
