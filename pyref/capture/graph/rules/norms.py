"""Norms that models write by hand."""

from collections.abc import Callable, Iterator

from pyref.capture.graph.node import Node
from pyref.capture.graph.rules.pattern import N, Op, X
from pyref.capture.graph.rules.rule import Rule, Site, rule


def over_last(site: Site, name: str) -> bool:
    """Report whether a node reduces the last dimension, and keeps it."""
    node = site.nodes[name]
    return node.attributes == {"dims": [len(site.shape(node.operands[0])) - 1], "keep": True}


def rms_norm(site: Site, found: dict) -> Node | None:
    """Build an RMSNorm over the last dimension, without a weight."""
    if not over_last(site, found["mean"].name):
        return None
    attributes = {"eps": found["eps"], "offset": 0.0}
    return site.node.changed(op="rms_norm", operands=(found["x"], None), attributes=attributes)


def layer_norm(site: Site, found: dict) -> Node | None:
    """Build a LayerNorm over the last dimension, without weight and bias."""
    if not (over_last(site, found["mean"].name) and over_last(site, found["middle"].name)):
        return None
    operands = (found["x"], None, None)
    return site.node.changed(op="layer_norm", operands=operands, attributes={"eps": found["eps"]})


def weighted(offset: float) -> Callable:
    """Return a builder that gives a norm its weight."""

    def build(site: Site, found: dict) -> Node | None:
        norm = found["norm"]
        if norm.operands[1] is not None or len(site.shape(found["w"])) != 1:
            return None
        attributes = norm.attributes | ({"offset": offset} if norm.op == "rms_norm" else {})
        return norm.changed(
            name=site.node.name,
            operands=(norm.operands[0], found["w"], *norm.operands[2:]),
            attributes=attributes,
        )

    return build


def biased(site: Site, found: dict) -> Node | None:
    """Build a LayerNorm with its bias."""
    norm = found["norm"]
    if len(site.shape(found["b"])) != 1:
        return None
    return norm.changed(name=site.node.name, operands=(*norm.operands[:2], found["b"]))


def root(x: object, variance: object) -> Iterator[object]:
    """Yield the ways in which models divide x by a root."""
    yield Op("mul", x, Op("rsqrt", variance))
    yield Op("mul", x, Op("pow", variance, -0.5))
    yield Op("mul", x, Op("div", 1.0, Op("sqrt", variance)))
    for square_root in (Op("sqrt", variance), Op("pow", variance, 0.5)):
        yield Op("div", x, square_root)


def mean_square(x: object) -> Iterator[object]:
    """Yield the ways in which models write a mean square plus eps."""
    for square in (Op("pow", x, 2), Op("mul", x, x)):
        yield Op("add", Op("mean", square, called="mean"), N("eps"))


CENTRED = Op("sub", X("x"), Op("mean", X("x"), called="middle"))

RULES: list[Rule] = [
    *(rule(way, layer_norm) for variance in mean_square(CENTRED) for way in root(CENTRED, variance)),
    *(rule(way, rms_norm) for variance in mean_square(X("x")) for way in root(X("x"), variance)),
    rule(Op("mul", Op("rms_norm", X("x"), None, called="norm"), Op("add", X("w"), 1.0)), weighted(1.0)),
    rule(Op("mul", Op("rms_norm", X("x"), None, called="norm"), X("w")), weighted(0.0)),
    rule(Op("mul", Op("layer_norm", X("x"), None, None, called="norm"), X("w")), weighted(0.0)),
    rule(Op("add", Op("layer_norm", X("x"), X("w"), None, called="norm"), X("b")), biased),
]
