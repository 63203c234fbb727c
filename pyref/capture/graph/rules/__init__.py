"""Rules: several nodes that together are one known operation. `lift` applies them."""

from pyref.capture.graph.rules import activations, attention, linears, norms, recurrent, rotary, shapes
from pyref.capture.graph.rules.rule import Rule

FLAT = linears.FLAT
RULES: list[Rule] = [
    *shapes.RULES,
    *linears.RULES,
    *norms.RULES,
    *activations.RULES,
    *rotary.RULES,
    *attention.RULES,
    *recurrent.RULES,
]
