"""Dimensions of size 1 that einsum adds before it permutes."""

from collections.abc import Iterator

from pyref.capture.graph.node import Node
from pyref.capture.graph.rules.rule import Rule, Site


def narrower(site: Site) -> Iterator[list[Node]]:
    """Yield a permutation without dimensions of size 1 that its operand was given."""
    grown = site.maker(site.node.operands[0], "reshape") if site.node.op == "permute" else None
    if grown is None:
        return
    own, sizes = site.shape(grown.operands[0]), site.shape(grown.name)
    places: dict[int, int] = {}  # from a dimension to a dimension of the narrow value
    for dim, size in enumerate(sizes):
        if len(places) < len(own) and size == own[len(places)]:
            places[dim] = len(places)
        elif size != 1:
            return
    if len(places) != len(own) or len(own) == len(sizes):
        return
    dims = [places[dim] for dim in site.node.attributes["dims"] if dim in places]
    permuted = site.new(0, "permute", grown.operands, dims=dims)
    shape = site.shape(site.node.name)
    yield [permuted, site.node.changed(op="reshape", operands=(permuted.name,), attributes={"shape": shape})]


RULES: list[Rule] = [narrower]
