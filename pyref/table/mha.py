"""The layer torch.nn.MultiheadAttention."""

from pyref.case import Case
from pyref.multihead import MultiheadAttention
from pyref.padding import left, right

CASES = (
    Case(
        "mha/unmasked",
        "More rows than least squares has unknowns, so that it can find the parameter that is wrong.",
        MultiheadAttention(B=20, L=9, D=40, H=4),
    ),
    Case(
        "mha/causal",
        "Causal self-attention: query 0 sees only key 0, so an exact row 0 puts the fault in the scores.",
        MultiheadAttention(B=5, L=9, D=40, H=4, causal=True),
    ),
    Case(
        "mha/padding",
        "Self-attention over sequences padded on the right, each to a different length.",
        MultiheadAttention(B=5, L=9, D=40, H=4, padding=right(7, 9, 4, 6, 2)),
    ),
    Case(
        "mha/causal-left-padding",
        "Causal and padded on the left: the first queries of a padded sequence see no key and give the output"
        " bias, and each mistake leaves its own pattern of wrong rows.",
        MultiheadAttention(B=5, L=9, D=40, H=4, causal=True, padding=left(7, 9, 4, 6, 2)),
    ),
    Case(
        "mha/cross",
        "Cross-attention as long as its memory: only the numbers show query and memory swapped.",
        MultiheadAttention(B=5, L=9, S=9, D=40, H=4, padding=right(6, 9, 4, 8, 2)),
    ),
    Case(
        "mha/cross-kdim",
        "Keys and values of their own widths, which PyTorch projects with separate weights.",
        MultiheadAttention(B=5, L=7, S=10, D=40, H=4, kdim=28, vdim=24, padding=right(6, 10, 4, 8, 2)),
    ),
    Case(
        "mha/no-bias",
        "Causal self-attention without biases: the state dict has only the two weights.",
        MultiheadAttention(B=5, L=9, D=40, H=4, bias=False, causal=True),
    ),
    Case(
        "mha/hot",
        "Weights of unit variance: scores above 88, which overflow exp unless the maximum is subtracted.",
        MultiheadAttention(B=5, L=9, D=40, H=4, causal=True, weight_std=1.0),
    ),
)
