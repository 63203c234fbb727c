"""Rotary position embedding, in the ways in which models write it."""

from pyref.capture.graph.node import Node
from pyref.capture.graph.rules.pattern import Op, X
from pyref.capture.graph.rules.rule import Rule, Site, rule


def part(name: str) -> Op:
    """Return the pattern of a slice of x."""
    return Op("slice", X("x"), called=name)


def halves(site: Site, found: dict) -> Node | None:
    """Build a rotation of pairs with one feature of each half."""
    size = site.shape(found["x"])[-1]
    low, high = found["low"].attributes, found["high"].attributes
    if (low["start"], low["stop"], high["start"], high["stop"]) != (0, size // 2, size // 2, size):
        return None
    return rotated(site, found["x"], found["cos"], found["sin"], "halves")


def neighbours(site: Site, found: dict) -> Node | None:
    """Build a rotation of pairs of neighbours."""
    return rotated(site, found["x"], found["cos"], found["sin"], "neighbours")


def rotated(site: Site, x: str, cos: str, sin: str, pairs: str) -> Node:
    """Return the node of a rotation."""
    return site.node.changed(op="rotary", operands=(x, cos, sin), attributes={"pairs": pairs})


def from_two(site: Site, found: dict) -> list[Node] | None:
    """Build a rotation of two halves that are put side by side.

    The halves belong to x, or are its even and its odd features. The tables of one half serve both.
    """
    first, second = found["first"].attributes, found["second"].attributes
    last = len(site.shape(found["x"])) - 1
    if first["dim"] != last or site.node.attributes["dim"] != last:
        return None
    cos = site.new(0, "cat", (found["cos"], found["cos"]), dim=len(site.shape(found["cos"])) - 1)
    sin = site.new(1, "cat", (found["sin"], found["sin"]), dim=len(site.shape(found["sin"])) - 1)
    size, x, more = site.shape(found["x"])[-1], found["x"], []
    if (first["start"], first["stop"], second["start"], second["stop"]) != (0, size // 2, size // 2, size):
        more = [site.new(2, "cat", (found["first"].name, found["second"].name), dim=last)]
        x = more[0].name
    return [cos, sin, *more, rotated(site, x, cos.name, sin.name, "halves")]


def from_pairs(site: Site, found: dict) -> list[Node] | None:
    """Build a rotation of neighbours, which the model splits off in a dimension of their own."""
    shape = site.shape(site.node.name)
    if site.shape(found["flat"]) != shape or site.shape(found["x"]) != [*shape[:-1], shape[-1] // 2, 2]:
        return None
    nodes = []
    for i, table in enumerate((found["cos"], found["sin"])):
        sizes = site.shape(table)[:-1]  # the last is of size 1
        nodes.append(site.new(2 * i, "reshape", (table,), shape=sizes))
        repeated = {"dim": len(sizes) - 1, "times": 2}
        nodes.append(site.new(2 * i + 1, "repeat_interleave", (nodes[-1].name,), **repeated))
    return [*nodes, rotated(site, found["flat"], nodes[1].name, nodes[3].name, "neighbours")]


TURNED = Op("cat", Op("neg", part("high")), part("low"))
EVERY_TWO = Op("cat", Op("reshape", Op("neg", part("odd"))), Op("reshape", part("even")))
FIRST, SECOND = part("first"), part("second")


def product(first: object, second: object) -> Op:
    """Return the pattern of a product of complex numbers, as its real and its imaginary part."""
    return Op(
        "cat",
        Op("sub", Op("mul", first, X("cos")), Op("mul", second, X("sin"))),
        Op("add", Op("mul", second, X("cos")), Op("mul", first, X("sin"))),
    )


PAIRS = tuple(
    Op("slice", Op("reshape", X("flat"), called="pairs"), called=name) for name in ("first", "second")
)


def of_pairs(site: Site, found: dict) -> list[Node] | None:
    """Build a rotation on a dimension of pairs."""
    return from_pairs(site, found | {"x": found["pairs"].name})


RULES: list[Rule] = [
    rule(Op("add", Op("mul", X("x"), X("cos")), Op("mul", TURNED, X("sin"))), halves),
    rule(Op("add", Op("mul", X("x"), X("cos")), Op("mul", Op("reshape", EVERY_TWO), X("sin"))), neighbours),
    rule(Op("reshape", product(*PAIRS)), of_pairs),
    rule(product(FIRST, SECOND), from_two),
]
