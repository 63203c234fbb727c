"""The function alone: torch.nn.functional.scaled_dot_product_attention, and what PyTorch has beside it.

ALiBi has 6 heads where the slopes between powers of two are to show, grouped heads are 6 to 2, so that
H/Hk is not Hk. A window is smaller than the number of queries, a cap is near the scores.
"""

import numpy as np

from pyref.case import Case
from pyref.sdpa import ScaledDotProductAttention

LOWEST = float(np.finfo(np.float32).min)

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
        ScaledDotProductAttention(B=3, H=4, L=9, S=9, E=10, Ev=10, allow=(3, 1, 9, 9)),
    ),
    Case(
        "sdpa/float-mask",
        "A float mask that is added to the scaled scores, with some -inf, and is shared by the batch.",
        ScaledDotProductAttention(B=3, H=4, L=9, S=9, E=10, Ev=10, bias=(4, 9, 9)),
    ),
    Case(
        "sdpa/causal-lower-right",
        "A chunk of queries after a past: the last query sees every key, the first sees the past and itself.",
        ScaledDotProductAttention(B=3, H=4, L=4, S=10, E=10, Ev=10, causal=True, alignment="lower-right"),
    ),
    Case(
        "sdpa/decode",
        "One query after a past, aligned lower-right: the causal mask hides nothing.",
        ScaledDotProductAttention(B=3, H=4, L=1, S=11, E=10, Ev=10, causal=True, alignment="lower-right"),
    ),
    Case(
        "sdpa/decode-top-left",
        "One query and is_causal=True: aligned top-left it sees one key and gives the first value.",
        ScaledDotProductAttention(B=3, H=4, L=1, S=11, E=10, Ev=10, causal=True),
    ),
    Case(
        "sdpa/bool-mask-square",
        "A bool mask of 2 dimensions, shared by batch and heads.",
        ScaledDotProductAttention(B=3, H=4, L=7, S=10, E=10, Ev=12, allow=(7, 10)),
    ),
    Case(
        "sdpa/bool-mask-row",
        "A bool mask of a single row, the same for every query.",
        ScaledDotProductAttention(B=3, H=4, L=7, S=10, E=10, Ev=12, allow=(1, 10)),
    ),
    Case(
        "sdpa/bool-mask-keys",
        "A bool mask of one row for each batch element: padding as SDPA takes it, with true for real keys.",
        ScaledDotProductAttention(B=3, H=4, L=7, S=10, E=10, Ev=12, allow=(3, 1, 1, 10)),
    ),
    Case(
        "sdpa/bool-mask-heads",
        "A bool mask of 3 dimensions: the first is the heads, not the batch.",
        ScaledDotProductAttention(B=3, H=4, L=7, S=10, E=10, Ev=12, allow=(4, 7, 10)),
    ),
    Case(
        "sdpa/bool-mask-whole",
        "A bool mask that differs by batch element and by head.",
        ScaledDotProductAttention(B=3, H=4, L=7, S=10, E=10, Ev=12, allow=(3, 4, 7, 10)),
    ),
    Case(
        "sdpa/bool-mask-blank-rows",
        "A bool mask that hides every key from some queries, which give zero and not NaN.",
        ScaledDotProductAttention(B=3, H=4, L=9, S=9, E=10, Ev=10, allow=(3, 4, 9, 9), blank_rows=True),
    ),
    Case(
        "sdpa/float-mask-square",
        "A float mask of 2 dimensions, shared by batch and heads.",
        ScaledDotProductAttention(B=3, H=4, L=7, S=10, E=10, Ev=12, bias=(7, 10)),
    ),
    Case(
        "sdpa/float-mask-keys",
        "A float mask of one row for each batch element.",
        ScaledDotProductAttention(B=3, H=4, L=7, S=10, E=10, Ev=12, bias=(3, 1, 1, 10)),
    ),
    Case(
        "sdpa/float-mask-whole",
        "A float mask that differs by batch element and by head.",
        ScaledDotProductAttention(B=3, H=4, L=7, S=10, E=10, Ev=12, bias=(3, 4, 7, 10)),
    ),
    Case(
        "sdpa/float-mask-blank-rows",
        "A float mask of -inf for every key of some queries, which give zero and not NaN.",
        ScaledDotProductAttention(B=3, H=4, L=9, S=9, E=10, Ev=10, bias=(3, 4, 9, 9), blank_rows=True),
    ),
    Case(
        "sdpa/float-mask-billion",
        "A float mask that hides keys by adding -1e9 in place of -inf.",
        ScaledDotProductAttention(B=3, H=4, L=9, S=9, E=10, Ev=10, bias=(4, 9, 9), hides=-1e9),
    ),
    Case(
        "sdpa/float-mask-lowest",
        "A float mask that hides keys by adding the lowest float32 in place of -inf.",
        ScaledDotProductAttention(B=3, H=4, L=9, S=9, E=10, Ev=10, bias=(4, 9, 9), hides=LOWEST),
    ),
    Case(
        "sdpa/float-mask-lowest-blank-rows",
        "The lowest float32 added to every score of some queries: it swallows them and leaves the mean of all"
        " values.",
        ScaledDotProductAttention(
            B=3, H=4, L=9, S=9, E=10, Ev=10, bias=(3, 4, 9, 9), hides=LOWEST, blank_rows=True
        ),
    ),
    Case(
        "sdpa/scale",
        "A scale other than 1/sqrt(E).",
        ScaledDotProductAttention(B=3, H=4, L=9, S=9, E=10, Ev=10, scale=0.25),
    ),
    Case(
        "sdpa/scale-one",
        "Scores that are not scaled, as in T5, of queries that are small instead.",
        ScaledDotProductAttention(B=3, H=4, L=9, S=9, E=10, Ev=10, scale=1.0, query_std=0.3),
    ),
    Case(
        "sdpa/gqa",
        "Grouped heads: query heads 0 to 2 take key head 0, and 3 to 5 take key head 1.",
        ScaledDotProductAttention(B=3, H=6, Hk=2, L=7, S=10, E=10, Ev=12),
    ),
    Case(
        "sdpa/gqa-one",
        "Every query head takes the one key head (multi-query attention).",
        ScaledDotProductAttention(B=3, H=4, Hk=1, L=7, S=10, E=10, Ev=12),
    ),
    Case(
        "sdpa/gqa-causal-lower-right",
        "Grouped heads in a chunk of queries after a past.",
        ScaledDotProductAttention(
            B=3, H=6, Hk=2, L=4, S=10, E=10, Ev=10, causal=True, alignment="lower-right"
        ),
    ),
    Case(
        "sdpa/narrow-values",
        "Values narrower than the keys: the output has the width of the values, the scale that of the keys.",
        ScaledDotProductAttention(B=3, H=4, L=7, S=10, E=10, Ev=6),
    ),
    Case(
        "sdpa/no-batch",
        "Tensors of 3 dimensions, without a batch, and causal.",
        ScaledDotProductAttention(B=None, H=5, L=9, S=9, E=10, Ev=10, causal=True),
    ),
    Case(
        "sdpa/one-head",
        "A single head, with a mask for each batch element.",
        ScaledDotProductAttention(B=3, H=1, L=7, S=10, E=10, Ev=12, allow=(3, 1, 7, 10)),
    ),
    Case(
        "sdpa/one-batch-element",
        "A batch of a single element, with a mask for each head.",
        ScaledDotProductAttention(B=1, H=4, L=7, S=10, E=10, Ev=12, allow=(1, 4, 7, 10)),
    ),
    Case(
        "sdpa/hot",
        "Scores far above 88, which overflow exp unless the maximum is subtracted.",
        ScaledDotProductAttention(B=3, H=4, L=9, S=9, E=10, Ev=10, causal=True, query_std=60.0),
    ),
    Case(
        "sdpa/long",
        "More keys than a tile of 16, 32 or 64 holds, and a chunk of queries that begins inside one.",
        ScaledDotProductAttention(B=3, H=4, L=35, S=67, E=10, Ev=10, causal=True, alignment="lower-right"),
    ),
    Case(
        "sdpa/float16",
        "Tensors and output in float16.",
        ScaledDotProductAttention(B=3, H=4, L=9, S=9, E=10, Ev=10, causal=True, precision="float16"),
    ),
    Case(
        "sdpa/float16-mask",
        "A float mask in float16, as query, key and value are.",
        ScaledDotProductAttention(B=3, H=4, L=7, S=10, E=10, Ev=12, bias=(4, 7, 10), precision="float16"),
    ),
    Case(
        "sdpa/bfloat16",
        "Tensors and output in bfloat16.",
        ScaledDotProductAttention(B=3, H=4, L=9, S=9, E=10, Ev=10, causal=True, precision="bfloat16"),
    ),
    Case(
        "sdpa/bfloat16-gqa",
        "Grouped heads in bfloat16, as models run.",
        ScaledDotProductAttention(B=3, H=6, Hk=2, L=7, S=10, E=10, Ev=12, precision="bfloat16"),
    ),
    Case(
        "sdpa/float64",
        "Inputs in float64 with values that float32 rounds.",
        ScaledDotProductAttention(B=3, H=4, L=9, S=9, E=10, Ev=10, causal=True, precision="float64"),
    ),
    Case(
        "sdpa/window",
        "A sliding window: a query sees itself and the three keys before it.",
        ScaledDotProductAttention(B=3, H=4, L=11, S=11, E=10, Ev=12, causal=True, window=4),
    ),
    Case(
        "sdpa/window-two-sided",
        "A window without causality: a query sees two keys on either side of itself.",
        ScaledDotProductAttention(B=3, H=4, L=11, S=11, E=10, Ev=12, window=3),
    ),
    Case(
        "sdpa/window-lower-right",
        "A sliding window over a past, which the first keys have left.",
        ScaledDotProductAttention(
            B=3, H=4, L=4, S=11, E=10, Ev=12, causal=True, alignment="lower-right", window=4
        ),
    ),
    Case(
        "sdpa/window-decode",
        "One query whose window is shorter than the past: the causal mask hides nothing.",
        ScaledDotProductAttention(
            B=3, H=4, L=1, S=11, E=10, Ev=12, causal=True, alignment="lower-right", window=4
        ),
    ),
    Case(
        "sdpa/window-gqa",
        "A sliding window over grouped heads.",
        ScaledDotProductAttention(B=3, H=6, Hk=2, L=11, S=11, E=10, Ev=12, causal=True, window=4),
    ),
    Case(
        "sdpa/softcap",
        "Scores bent by c tanh(score / c), as in Gemma, before the causal mask.",
        ScaledDotProductAttention(B=3, H=4, L=9, S=9, E=10, Ev=10, causal=True, softcap=1.5),
    ),
    Case(
        "sdpa/softcap-window",
        "Bent scores in a sliding window.",
        ScaledDotProductAttention(B=3, H=4, L=11, S=11, E=10, Ev=12, causal=True, softcap=1.5, window=4),
    ),
    Case(
        "sdpa/alibi",
        "ALiBi for six heads, whose slopes are those of four heads and every other one of eight.",
        ScaledDotProductAttention(B=3, H=6, L=9, S=9, E=10, Ev=10, causal=True, alibi=True),
    ),
    Case(
        "sdpa/alibi-eight",
        "ALiBi for eight heads without causality: keys after the query lose as much as those before it.",
        ScaledDotProductAttention(B=3, H=8, L=9, S=9, E=10, Ev=10, alibi=True),
    ),
    Case(
        "sdpa/alibi-lower-right",
        "ALiBi in a chunk of queries: distances are counted from each query's place after the past.",
        ScaledDotProductAttention(
            B=3, H=6, L=4, S=10, E=10, Ev=10, causal=True, alignment="lower-right", alibi=True
        ),
    ),
    Case(
        "sdpa/alibi-decode",
        "ALiBi for one query, which stands at the last key: the causal mask hides nothing.",
        ScaledDotProductAttention(
            B=3, H=6, L=1, S=11, E=10, Ev=10, causal=True, alignment="lower-right", alibi=True
        ),
    ),
    Case(
        "sdpa/sinks",
        "One more logit for each head, which takes weight from all keys and has no value.",
        ScaledDotProductAttention(B=3, H=4, L=7, S=10, E=10, Ev=12, sinks=True),
    ),
    Case(
        "sdpa/sinks-window-gqa",
        "Sinks over a causal window and grouped heads, as in gpt-oss.",
        ScaledDotProductAttention(B=3, H=6, Hk=2, L=11, S=11, E=10, Ev=12, causal=True, window=4, sinks=True),
    ),
)
