"""The layer that difftest began with."""

from pyref.case import Case
from pyref.seed import SeedLayer

CASES = (
    Case(
        "seed/unmasked",
        "The seed layer with its mask off: the other half of the pair that shows whether a mask is applied.",
        SeedLayer(B=4, T=12, D=64, H=4, causal=False),
    ),
    Case(
        "seed/causal",
        "The seed layer with its mask on: keys W_Q, W_K, W_V and W_O, no bias.",
        SeedLayer(B=4, T=12, D=64, H=4, causal=True),
    ),
)
