"""Attention that models write by hand: from the softmax back to the scores and on to the values."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from pyref.capture.graph.node import Node
from pyref.capture.graph.rules.pattern import Op, X
from pyref.capture.graph.rules.rule import Rule, Site, rule

HIDDEN = -5e3  # a score of at most this has no weight in a softmax of other scores
# Added to every score of a query, this number leaves equal ones. float32 and float64 have it.
LEAST = -1e30


@dataclass(frozen=True)
class Scores:
    """What the scores of an attention consist of.

    `lead` are the sizes of the leading dimensions, which models sometimes merge. `biases` are added
    to the scores, as values or as the operands of `where`. `sinks` hold one more score for each
    head.
    """

    query: str
    key_turned: str
    lead: list[int]
    scale: float = 1.0
    cap: float | None = None
    biases: tuple[str | tuple, ...] = field(default=())
    sinks: str | None = None


def attention(site: Site) -> Iterator[list[Node]]:
    """Yield an attention for a product of softmax weights and values."""
    if site.node.op != "matmul":
        return
    weights, value = site.node.operands
    if (sliced := site.maker(behind(site, weights), "slice")) is not None:
        weights = sliced.operands[0]
    softmax = site.maker(behind(site, weights), "softmax")
    if softmax is None or softmax.attributes["dim"] != len(site.shape(softmax.name)) - 1:
        return
    found = scores(site, softmax.operands[0])
    if found is not None:
        yield from Builder(site, found, value).nodes()


def behind(site: Site, operand: str) -> str:
    """Return the value behind shapes that only split or merge leading dimensions.

    Zeros in place of NaN are left out, too: a query that sees no key has them anyway.
    """
    while (node := site.maker(operand, "reshape", "where")) is not None:
        inner = node.operands[0] if node.op == "reshape" else node.operands[2]
        if not (without_nan(site, node) if node.op == "where" else ends_equal(site, operand, inner)):
            break
        operand = inner
    return operand


def without_nan(site: Site, node: Node) -> bool:
    """Report whether a node replaces numbers that are not finite."""
    condition, source = site.maker(node.operands[0], "ne", "eq"), node.operands[2]
    while (inner := site.maker(source, "where")) is not None:
        source = inner.operands[2]
    if condition is None or condition.operands[0] != source:
        return False
    other = condition.operands[1]
    infinite = other in site.constants and bool(site.values[other].isinf().all())
    return other == source if condition.op == "ne" else infinite


def ends_equal(site: Site, a: str, b: str) -> bool:
    """Report whether two values have the same last two dimensions."""
    return len(site.shape(b)) > 2 and site.shape(a)[-2:] == site.shape(b)[-2:]


def scores(site: Site, name: str) -> Scores | None:
    """Return what a value consists of, None if it is no score."""
    node = site.nodes.get(name)
    if node is None:
        return None
    if node.op == "matmul":
        return Scores(node.operands[0], node.operands[1], site.shape(name)[:-2])
    step = STEPS.get(node.op)
    return step(site, node) if step is not None else None


def reshaped(site: Site, node: Node) -> Scores | None:
    """Return scores in a shape with other leading dimensions."""
    if site.shape(node.operands[0])[-2:] != site.shape(node.name)[-2:]:
        return None
    inner = scores(site, node.operands[0])
    longer = inner is not None and len(site.shape(node.name)) > len(inner.lead) + 2
    return replace(inner, lead=site.shape(node.name)[:-2]) if longer else inner


def scaled(site: Site, node: Node) -> Scores | None:
    """Return scores times a number, or capped."""
    for x, number in (node.operands, node.operands[::-1]):
        if not isinstance(number, (int, float)) or not isinstance(x, str):
            continue
        if node.op == "mul" and (tanh := site.maker(x, "tanh")) is not None:
            divided = site.maker(tanh.operands[0], "div", "mul")
            inner = scores(site, divided.operands[0]) if divided is not None else None
            if inner is not None and not inner.biases and inner.cap is None:
                return replace(inner, cap=float(number))
        inner = scores(site, x)
        if (
            inner is None
            or inner.biases
            or inner.cap is not None
            or (node.op == "div" and x != node.operands[0])
        ):
            continue
        return replace(inner, scale=inner.scale * number if node.op == "mul" else inner.scale / number)
    return None


def added(site: Site, node: Node) -> Scores | None:
    """Return scores plus a bias."""
    for x, bias in (node.operands, node.operands[::-1]):
        inner = scores(site, x) if isinstance(x, str) and isinstance(bias, str) else None
        if inner is not None:
            return replace(inner, biases=(*inner.biases, bias))
    return None


def masked(site: Site, node: Node) -> Scores | None:
    """Return scores, some of which are replaced by a number that leaves them no weight."""
    condition, yes, no = node.operands
    yes, no = number(site, yes), number(site, no)
    x, fill = (yes, no) if isinstance(yes, str) else (no, yes)
    if site.nodes.get(condition) is not None or condition in site.parameters:
        return None
    inner = scores(site, x) if isinstance(x, str) and isinstance(fill, (int, float)) else None
    if inner is None or fill > HIDDEN:
        return None
    hides = (condition, 0.0, LEAST) if x == yes else (condition, LEAST, 0.0)
    return replace(inner, biases=(*inner.biases, hides))


def number(site: Site, operand: object) -> object:
    """Return a constant without dimensions as a number, other operands unchanged."""
    if operand in site.constants and site.values[operand].dim() == 0:
        return site.values[operand].item()
    return operand


def shifted(site: Site, node: Node) -> Scores | None:
    """Return scores less their maximum, which a softmax does not see."""
    x, top = node.operands
    largest = site.maker(top, "max")
    return scores(site, x) if largest is not None and largest.operands[0] == x else None


def with_sinks(site: Site, node: Node) -> Scores | None:
    """Return scores with one more for each head, which has no key."""
    last = len(site.shape(node.name)) - 1
    if len(node.operands) != 2 or node.attributes["dim"] != last or site.shape(node.operands[1])[-1] != 1:
        return None
    inner, sinks = scores(site, node.operands[0]), node.operands[1]
    while (moved := site.maker(sinks, "expand", "reshape")) is not None:
        sinks = moved.operands[0]
    return replace(inner, sinks=sinks) if inner is not None and len(site.shape(sinks)) == 1 else None


STEPS = {
    "reshape": reshaped,
    "mul": scaled,
    "div": scaled,
    "add": added,
    "sub": shifted,
    "where": masked,
    "cat": with_sinks,
}


class Builder:
    """Builds the nodes of an attention from its scores and values."""

    def __init__(self, site: Site, found: Scores, value: str):
        """Begin without nodes."""
        self.site, self.found, self.value = site, found, value
        self.made: list[Node] = []

    def nodes(self) -> Iterator[list[Node]]:
        """Yield the nodes of the attention, if its operands have the scores' leading dimensions."""
        site, found = self.site, self.found
        operands = [self.led(found.query), self.key(), self.led(self.value)]
        if None in operands:
            return
        operands.append(self.mask())
        if found.sinks is not None:
            operands.append(found.sinks)
        attributes = {"scale": float(found.scale), "softcap": found.cap, "causal": False}
        node, shape = site.node, site.shape(site.node.name)
        if shape[:-2] == found.lead:
            yield [*self.made, node.changed(op="attention", operands=tuple(operands), attributes=attributes)]
            return
        attention = self.add("attention", tuple(operands), **attributes)
        yield [*self.made, node.changed(op="reshape", operands=(attention,), attributes={"shape": shape})]

    def add(self, op: str, operands: tuple, **attributes: object) -> str:
        """Add a node and return its name."""
        self.made.append(self.site.new(len(self.made), op, operands, **attributes))
        return self.made[-1].name

    def led(self, name: str) -> str | None:
        """Return a value with the scores' leading dimensions, if reshapes alone lie between."""
        while self.site.shape(name)[:-2] != self.found.lead:
            node = self.site.maker(name, "reshape")
            if node is None or not ends_equal(self.site, name, node.operands[0]):
                return None
            name = node.operands[0]
        return name

    def key(self) -> str | None:
        """Return the key, whose last two dimensions are not exchanged."""
        turned = self.site.maker(self.found.key_turned, "permute")
        if turned is None:
            lead = self.led(self.found.key_turned)
            turned = self.site.maker(lead, "permute") if lead is not None else None
        if turned is None:
            return None
        dims, source = turned.attributes["dims"], turned.operands[0]
        kept = [*dims[:-2], dims[-1], dims[-2]]
        if kept == sorted(kept):
            return self.led(source)
        sizes = self.site.shape(source)
        if [sizes[dim] for dim in kept[:-2]] != self.found.lead:
            return None
        return self.add("permute", (source,), dims=kept)

    def mask(self) -> str | None:
        """Return the sum of all biases."""
        total = None
        for bias in self.found.biases:
            bias = self.biased(bias)
            total = bias if total is None else self.add("add", (total, bias))
        return total

    def biased(self, bias: str | tuple) -> str:
        """Return a bias with as many leading dimensions as the scores."""
        sizes, lead = self.site.shape(bias[0] if isinstance(bias, tuple) else bias), self.found.lead
        if isinstance(bias, tuple):
            bias = self.add("where", bias)
        if len(sizes) != 3 or len(lead) != 2 or sizes[0] != lead[0] * lead[1]:
            return bias
        return self.add("reshape", (bias,), shape=[*lead, *sizes[1:]])


LINEAR = ("reshape", "permute", "repeat_interleave", "expand", "rotary", "slice")


def unscaled(place: int) -> Rule:
    """Return a rule that moves a number, which multiplies the query or the key, into the scale."""

    def apply(site: Site) -> Iterator[list[Node]]:
        if site.node.op != "attention":
            return
        chain, name = [], site.node.operands[place]
        while (node := site.maker(name, *LINEAR)) is not None:
            chain.append(node)
            name = node.operands[0]
        factor = site.maker(name, "mul", "div")
        if factor is None or not isinstance(factor.operands[0], str):
            return
        x, number = factor.operands
        if not isinstance(number, (int, float)):
            return
        made: list[Node] = []
        for node in reversed(chain):
            made.append(
                node.changed(name=f"{site.node.name}/{place}{len(made)}", operands=(x, *node.operands[1:]))
            )
            x = made[-1].name
        scale = site.node.attributes["scale"] * (number if factor.op == "mul" else 1 / number)
        operands = (*site.node.operands[:place], x, *site.node.operands[place + 1 :])
        yield [
            *made,
            site.node.changed(operands=operands, attributes=site.node.attributes | {"scale": scale}),
        ]

    return apply


def repeated(site: Site, found: dict) -> Node | None:
    """Build the repetition of key and value heads for groups of query heads."""
    before, after = site.shape(found["x"]), site.shape(site.node.name)
    if len(before) != len(after):
        return None
    grown = [dim for dim in range(len(after)) if before[dim] != after[dim]]
    if len(grown) != 1 or after[grown[0]] % before[grown[0]]:
        return None
    attributes = {"dim": grown[0], "times": after[grown[0]] // before[grown[0]]}
    return site.node.changed(op="repeat_interleave", operands=(found["x"],), attributes=attributes)


RULES: list[Rule] = [
    rule(Op("reshape", Op("expand", Op("reshape", X("x")))), repeated),
    attention,
    unscaled(0),
    unscaled(1),
]
