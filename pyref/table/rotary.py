"""torch.onnx.ops.rotary_embedding: tables of cosines and sines, and positions.

Positions are no range, and differ by batch element. Tables have base 100, so that every pair turns
by a visible angle.
"""

from pyref.build.case import Case
from pyref.ops.rotary import RotaryEmbedding


def rotary(**options: object) -> RotaryEmbedding:
    """Return a rotation of three batch elements of four heads, by a table of 23 positions."""
    shape = {"batch": 3, "num_heads": 4, "seq": 5, "head_dim": 10, "table_len": 23}
    return RotaryEmbedding(**(shape | options))


CASES = (
    Case(
        "rotary/half",
        "Pairs i and i + E/2 of every head, turned by the table's row at each token's position.",
        rotary(),
    ),
    Case(
        "rotary/interleaved",
        "Pairs 2i and 2i + 1 of every head, turned by the table's row at each token's position.",
        rotary(style="interleaved"),
    ),
    Case(
        "rotary/partial",
        "The first six of ten features of every head turn, the others stay.",
        rotary(dim=6),
    ),
    Case(
        "rotary/merged",
        "Heads side by side in an input of three dimensions.",
        rotary(merged=True),
    ),
    Case(
        "rotary/merged-interleaved-partial",
        "Interleaved pairs in a part of each of the heads, which stand side by side.",
        rotary(merged=True, style="interleaved", dim=6),
    ),
    Case(
        "rotary/tokens",
        "Tables with a row for each token of each batch element, without positions.",
        rotary(table_len=None),
    ),
    Case(
        "rotary/tokens-merged-interleaved",
        "Tables with a row for each token, interleaved pairs, and heads side by side.",
        rotary(table_len=None, style="interleaved", merged=True),
    ),
    Case(
        "rotary/bfloat16",
        "Input, tables and output in bfloat16.",
        rotary(precision="bfloat16"),
    ),
)
