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
            break
    if len(places) == len(own) == len(sizes):
        return
    made, source = [], grown.operands[0]
    if len(places) != len(own):  # the reshape does more than add dimensions
        kept = [dim for dim, size in enumerate(sizes) if size != 1 or dim == 0]
        if len(kept) == len(sizes):
            return
        places = {dim: place for place, dim in enumerate(kept)}
        made = [site.new(0, "reshape", grown.operands, shape=[sizes[dim] for dim in kept])]
        source = made[0].name
    dims = [places[dim] for dim in site.node.attributes["dims"] if dim in places]
    permuted = site.new(1, "permute", (source,), dims=dims)
    end = {"shape": site.shape(site.node.name)}
    yield [*made, permuted, site.node.changed(op="reshape", operands=(permuted.name,), attributes=end)]


RULES: list[Rule] = [narrower]
