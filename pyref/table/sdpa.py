"""The function alone: torch.nn.functional.scaled_dot_product_attention and what PyTorch has beside it."""

from pyref.case import Case
from pyref.sdpa import ScaledDotProductAttention

CASES = (
    Case(
        "sdpa/unmasked",
        "The formula alone: scores, scale, softmax and the weighted sum, with nothing hidden.",
        ScaledDotProductAttention(B=3, H=4, L=9, S=9, E=10, Ev=10),
    ),
    Case(
        "sdpa/causal",
        "The causal mask on a square of scores: query i sees keys 0 to i.",
        ScaledDotProductAttention(B=3, H=4, L=9, S=9, E=10, Ev=10, causal=True),
    ),
    Case(
        "sdpa/causal-rectangular",
        "Fewer queries than keys: the causal mask is aligned top-left, so no query sees the last keys.",
        ScaledDotProductAttention(B=3, H=4, L=7, S=10, E=10, Ev=12, causal=True),
    ),
    Case(
        "sdpa/bool-mask",
        "A bool mask, true takes part, that differs by batch element and is shared by the heads.",
        ScaledDotProductAttention(B=3, H=4, L=9, S=9, E=10, Ev=10, mask="allow"),
    ),
    Case(
        "sdpa/float-mask",
        "A float mask that is added to the scaled scores, with some -inf, and is shared by the batch.",
        ScaledDotProductAttention(B=3, H=4, L=9, S=9, E=10, Ev=10, mask="bias"),
    ),
)
