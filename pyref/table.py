"""The cases. Add a row and run `pyref/regenerate`: that is a new case.

What makes a row worth having, each point measured on faults from public bug reports: batch at least 3 and
heads at least 4; 1/sqrt(E), 1/sqrt(D), 1/E and 1/sqrt(H) far apart (E 10, D 40, H 4 are; E 8 or 16 are not);
every padded length distinct and batch element 0 padded; biases that are not zero; scores of standard
deviation near 1; and once per family more rows than H (D + 1) + 1, so that least squares can find the
parameter that is wrong.
"""

from pyref.case import Case
from pyref.multihead import MultiheadAttention
from pyref.padding import left, right
from pyref.sdpa import ScaledDotProductAttention
from pyref.seed import SeedLayer

WEIGHTS = ("weights-unit-normal", "weights-random", "weights-zero")

CASES = (
    Case(
        "sdpa/unmasked",
        "The formula alone: scores, scale, softmax and the weighted sum, with nothing hidden.",
        ScaledDotProductAttention(B=3, H=4, L=9, S=9, E=10, Ev=10),
        ("scale-missing",),
    ),
    Case(
        "sdpa/causal",
        "The causal mask on a square of scores: query i sees keys 0 to i.",
        ScaledDotProductAttention(B=3, H=4, L=9, S=9, E=10, Ev=10, causal=True),
        ("causal-missing", "scale-missing"),
    ),
    Case(
        "sdpa/causal-rectangular",
        "Fewer queries than keys: the causal mask is aligned top-left, so no query sees the last keys.",
        ScaledDotProductAttention(B=3, H=4, L=7, S=10, E=10, Ev=12, causal=True),
        ("causal-missing", "scale-missing"),
    ),
    Case(
        "sdpa/bool-mask",
        "A bool mask, true takes part, that differs by batch element and is shared by the heads.",
        ScaledDotProductAttention(B=3, H=4, L=9, S=9, E=10, Ev=10, mask="allow"),
        ("mask-ignored", "scale-missing"),
    ),
    Case(
        "sdpa/float-mask",
        "A float mask that is added to the scaled scores, with some -inf, and is shared by the batch.",
        ScaledDotProductAttention(B=3, H=4, L=9, S=9, E=10, Ev=10, mask="bias"),
        ("bias-ignored", "scale-missing"),
    ),
    Case(
        "mha/unmasked",
        "More rows than least squares has unknowns, so that it can find the parameter that is wrong.",
        MultiheadAttention(B=20, L=9, D=40, H=4),
        (*WEIGHTS, "scale-missing"),
    ),
    Case(
        "mha/causal",
        "Causal self-attention: query 0 sees only key 0, so an exact row 0 puts the fault in the scores.",
        MultiheadAttention(B=5, L=9, D=40, H=4, causal=True),
        (*WEIGHTS, "causal-missing", "scale-missing"),
    ),
    Case(
        "mha/padding",
        "Self-attention over sequences padded on the right, each to a different length.",
        MultiheadAttention(B=5, L=9, D=40, H=4, padding=right(7, 9, 4, 6, 2)),
        (*WEIGHTS, "padding-ignored", "scale-missing"),
    ),
    Case(
        "mha/causal-left-padding",
        "Causal and padded on the left: the first queries of a padded sequence see no key and give the output"
        " bias, and each mistake leaves its own pattern of wrong rows.",
        MultiheadAttention(B=5, L=9, D=40, H=4, causal=True, padding=left(7, 9, 4, 6, 2)),
        (*WEIGHTS, "causal-missing", "padding-ignored", "scale-missing"),
    ),
    Case(
        "mha/cross",
        "Cross-attention as long as its memory: only the numbers show query and memory swapped.",
        MultiheadAttention(B=5, L=9, S=9, D=40, H=4, padding=right(6, 9, 4, 8, 2)),
        (*WEIGHTS, "padding-ignored", "scale-missing"),
    ),
    Case(
        "mha/cross-kdim",
        "Keys and values of their own widths, which PyTorch projects with separate weights.",
        MultiheadAttention(B=5, L=7, S=10, D=40, H=4, kdim=28, vdim=24, padding=right(6, 10, 4, 8, 2)),
        (*WEIGHTS, "padding-ignored", "scale-missing"),
    ),
    Case(
        "mha/no-bias",
        "Causal self-attention without biases: the state dict has only the two weights.",
        MultiheadAttention(B=5, L=9, D=40, H=4, bias=False, causal=True),
        (*WEIGHTS, "causal-missing", "scale-missing"),
    ),
    Case(
        "mha/hot",
        "Weights of unit variance: scores above 88, which overflow exp unless the maximum is subtracted.",
        MultiheadAttention(B=5, L=9, D=40, H=4, causal=True, weight_std=1.0),
        (*WEIGHTS, "causal-missing", "scale-missing"),
    ),
    Case(
        "seed/unmasked",
        "The seed layer with its mask off: the other half of the pair that shows whether a mask is applied.",
        SeedLayer(B=4, T=12, D=64, H=4, flag_mask=False),
        (*WEIGHTS, "scale-missing"),
    ),
    Case(
        "seed/causal",
        "The seed layer with its mask on: keys W_Q, W_K, W_V and W_O, no bias.",
        SeedLayer(B=4, T=12, D=64, H=4, flag_mask=True),
        (*WEIGHTS, "causal-missing", "scale-missing"),
    ),
)
