"""Linear layers, and elements that a constant list of indices takes from a range."""

from collections.abc import Iterator

from pyref.capture.graph.node import Node
from pyref.capture.graph.rules.pattern import Op, X
from pyref.capture.graph.rules.rule import Rule, Site, rule


def product(site: Site) -> Iterator[list[Node]]:
    """Yield a linear layer for a product with a matrix that is a parameter, or one transposed."""
    node = site.node
    if node.op != "matmul":
        return
    x, matrix = node.operands
    turned = site.maker(matrix, "permute")
    if turned is not None and turned.attributes["dims"] == [1, 0]:
        matrix, order = turned.operands[0], "out, in"
    else:
        order = "in, out"
    if matrix in site.parameters and len(site.shape(matrix)) == 2:
        yield [node.changed(op="linear", operands=(x, matrix, None), attributes={"weight": order})]


def biased(site: Site, found: dict) -> Node | None:
    """Build a linear layer with its bias."""
    linear, bias = found["linear"], found["b"]
    if bias not in site.parameters or site.shape(bias) != site.shape(site.node.name)[-1:]:
        return None
    return linear.changed(name=site.node.name, operands=(*linear.operands[:2], bias))


def unflattened(site: Site, found: dict) -> Node | None:
    """Build a linear layer on an input that the model flattens to a matrix and back."""
    linear = found["linear"]
    if site.shape(found["x"])[:-1] != site.shape(site.node.name)[:-1]:
        return None
    return linear.changed(name=site.node.name, operands=(found["x"], *linear.operands[1:]))


def range_of(site: Site) -> Iterator[list[Node]]:
    """Yield a slice for an index whose constant places follow one another."""
    node = site.node
    if node.op != "index" or len(node.operands) != 2 or node.operands[1] not in site.constants:
        return
    places, dim = site.values[node.operands[1]], node.attributes["dims"][0]
    if places.dim() != 1 or places.is_floating_point():
        return
    size = site.shape(node.operands[0])[dim]
    start, count = int(places[0]) % size, len(places)
    if start + count <= size and [p % size for p in places.tolist()] == list(range(start, start + count)):
        attributes = {"dim": dim, "start": start, "stop": start + count, "step": 1}
        yield [node.changed(op="slice", operands=node.operands[:1], attributes=attributes)]


# Applied before reshapes are joined.
FLAT: list[Rule] = [
    rule(Op("reshape", Op("linear", Op("reshape", X("x")), X("w"), X("b"), called="linear")), unflattened),
    rule(Op("reshape", Op("linear", Op("reshape", X("x")), X("w"), None, called="linear")), unflattened),
]

RULES: list[Rule] = [
    range_of,
    product,
    rule(Op("add", Op("linear", X("x"), X("w"), None, called="linear"), X("b")), biased),
    *FLAT,
]
