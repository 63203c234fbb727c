"""Recurrent layers that start at zero."""

from collections.abc import Iterator

from pyref.capture.graph.node import Node
from pyref.capture.graph.rules.rule import Rule, Site

STATES = {"lstm": (1, 2), "lstm_cells": (1, 2), "gru": (1,), "rnn": (1,)}


def from_zero(site: Site) -> Iterator[list[Node]]:
    """Yield a layer without first states where they are constants of zeros."""
    states = STATES.get(site.node.op, ())
    zeros = [i for i in states if zero(site, site.node.operands[i])]
    if zeros:
        operands = tuple(None if i in zeros else o for i, o in enumerate(site.node.operands))
        yield [site.node.changed(operands=operands)]


def zero(site: Site, operand: object) -> bool:
    """Report whether an operand is a constant of zeros."""
    return operand in site.constants and not bool(site.values[operand].any())


RULES: list[Rule] = [from_zero]
