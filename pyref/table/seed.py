"""The seed layer, which difftest tested first."""

from pyref.build.case import Case
from pyref.ops.seed import SeedLayer

CASES = (
    Case(
        "seed/unmasked",
        "The seed layer with its mask off: the other half of the pair that shows whether a mask is applied.",
        SeedLayer(batch=4, seq_len=12, embed_dim=64, num_heads=4, causal=False),
    ),
    Case(
        "seed/causal",
        "The seed layer with its mask on: keys W_Q, W_K, W_V and W_O, no bias.",
        SeedLayer(batch=4, seq_len=12, embed_dim=64, num_heads=4, causal=True),
    ),
)
