"""torch.nn.functional.scaled_dot_product_attention, and the variants that flex_attention computes.

ALiBi has 6 heads to test the slopes between powers of two. Grouped heads are 6 to 2, so that H/Hk
differs from Hk. A window is smaller than the number of queries, and a cap is near the scores.
"""

import numpy as np

from pyref.build.case import Case
from pyref.ops.sdpa import ScaledDotProductAttention

LOWEST = float(np.finfo(np.float32).min)


def square(**options: object) -> ScaledDotProductAttention:
    """Return attention with as many queries as keys."""
    shape = {"batch": 3, "num_heads": 4, "seq_q": 9, "seq_kv": 9, "head_dim": 10, "v_head_dim": 10}
    return ScaledDotProductAttention(**(shape | options))


def rectangle(**options: object) -> ScaledDotProductAttention:
    """Return attention with fewer queries than keys, and with wider values."""
    return square(**({"seq_q": 7, "seq_kv": 10, "v_head_dim": 12} | options))


def chunk(**options: object) -> ScaledDotProductAttention:
    """Return causal attention of a chunk of queries after a past."""
    return square(**({"seq_q": 4, "seq_kv": 10, "causal": True, "alignment": "lower-right"} | options))


def decode(**options: object) -> ScaledDotProductAttention:
    """Return attention of one query."""
    return square(**({"seq_q": 1, "seq_kv": 11} | options))


def windowed(**options: object) -> ScaledDotProductAttention:
    """Return causal attention with a sliding window, and with wider values."""
    shape = {"seq_q": 11, "seq_kv": 11, "v_head_dim": 12}
    return square(**(shape | {"causal": True, "window": 4} | options))


CASES = (
    Case(
        "sdpa/unmasked",
        "The formula alone: scores, scale, softmax and the weighted sum, with nothing hidden.",
        square(),
    ),
    Case(
        "sdpa/causal",
        "The causal mask on a square of scores: query i sees keys 0 to i.",
        square(causal=True),
    ),
    Case(
        "sdpa/causal-rectangular",
        "Fewer queries than keys: the causal mask is aligned top-left, so no query sees the last keys.",
        rectangle(causal=True),
    ),
    Case(
        "sdpa/bool-mask",
        "A bool mask, true takes part, that differs by batch element and is shared by the heads.",
        square(allow=(3, 1, 9, 9)),
    ),
    Case(
        "sdpa/float-mask",
        "A float mask that is added to the scaled scores, with some -inf, and is shared by the batch.",
        square(bias=(4, 9, 9)),
    ),
    Case(
        "sdpa/causal-lower-right",
        "A chunk of queries after a past: the last query sees every key, the first sees the past and itself.",
        chunk(),
    ),
    Case(
        "sdpa/decode",
        "One query after a past, aligned lower-right: the causal mask hides nothing.",
        decode(causal=True, alignment="lower-right"),
    ),
    Case(
        "sdpa/decode-top-left",
        "One query and is_causal=True: aligned top-left it sees one key and gives the first value.",
        decode(causal=True),
    ),
    Case(
        "sdpa/bool-mask-square",
        "A bool mask of 2 dimensions, shared by batch and heads.",
        rectangle(allow=(7, 10)),
    ),
    Case(
        "sdpa/bool-mask-row",
        "A bool mask of a single row, the same for every query.",
        rectangle(allow=(1, 10)),
    ),
    Case(
        "sdpa/bool-mask-keys",
        "A bool mask of one row for each batch element: padding as SDPA takes it, with true for real keys.",
        rectangle(allow=(3, 1, 1, 10)),
    ),
    Case(
        "sdpa/bool-mask-heads",
        "A bool mask of 3 dimensions: the first is the heads, not the batch.",
        rectangle(allow=(4, 7, 10)),
    ),
    Case(
        "sdpa/bool-mask-whole",
        "A bool mask that differs by batch element and by head.",
        rectangle(allow=(3, 4, 7, 10)),
    ),
    Case(
        "sdpa/bool-mask-blank-rows",
        "A bool mask that hides every key from some queries, which give zero and not NaN.",
        square(allow=(3, 4, 9, 9), fully_masked_rows=True),
    ),
    Case(
        "sdpa/float-mask-square",
        "A float mask of 2 dimensions, shared by batch and heads.",
        rectangle(bias=(7, 10)),
    ),
    Case(
        "sdpa/float-mask-keys",
        "A float mask of one row for each batch element.",
        rectangle(bias=(3, 1, 1, 10)),
    ),
    Case(
        "sdpa/float-mask-whole",
        "A float mask that differs by batch element and by head.",
        rectangle(bias=(3, 4, 7, 10)),
    ),
    Case(
        "sdpa/float-mask-blank-rows",
        "A float mask of -inf for every key of some queries, which give zero and not NaN.",
        square(bias=(3, 4, 9, 9), fully_masked_rows=True),
    ),
    Case(
        "sdpa/float-mask-billion",
        "A float mask that hides keys by adding -1e9 in place of -inf.",
        square(bias=(4, 9, 9), masked_value=-1e9),
    ),
    Case(
        "sdpa/float-mask-lowest",
        "A float mask that hides keys by adding the lowest float32 in place of -inf.",
        square(bias=(4, 9, 9), masked_value=LOWEST),
    ),
    Case(
        "sdpa/float-mask-lowest-blank-rows",
        "The lowest float32 added to every score of some queries: it swallows them and leaves the mean of all"
        " values.",
        square(bias=(3, 4, 9, 9), masked_value=LOWEST, fully_masked_rows=True),
    ),
    Case(
        "sdpa/scale",
        "A scale other than 1/sqrt(E).",
        square(scale=0.25),
    ),
    Case(
        "sdpa/scale-one",
        "Scores that are not scaled, as in T5, of queries that are small instead.",
        square(scale=1.0, query_std=0.3),
    ),
    Case(
        "sdpa/gqa",
        "Grouped heads: query heads 0 to 2 take key head 0, and 3 to 5 take key head 1.",
        rectangle(num_heads=6, num_kv_heads=2),
    ),
    Case(
        "sdpa/gqa-one",
        "Every query head takes the one key head (multi-query attention).",
        rectangle(num_kv_heads=1),
    ),
    Case(
        "sdpa/gqa-causal-lower-right",
        "Grouped heads in a chunk of queries after a past.",
        chunk(num_heads=6, num_kv_heads=2),
    ),
    Case(
        "sdpa/narrow-values",
        "Values narrower than the keys: the output has the width of the values, the scale that of the keys.",
        rectangle(v_head_dim=6),
    ),
    Case(
        "sdpa/no-batch",
        "Tensors of 3 dimensions, without a batch, and causal.",
        square(batch=None, num_heads=5, causal=True),
    ),
    Case(
        "sdpa/one-head",
        "A single head, with a mask for each batch element.",
        rectangle(num_heads=1, allow=(3, 1, 7, 10)),
    ),
    Case(
        "sdpa/one-batch-element",
        "A batch of a single element, with a mask for each head.",
        rectangle(batch=1, allow=(1, 4, 7, 10)),
    ),
    Case(
        "sdpa/hot",
        "Scores far above 88, which overflow exp unless the maximum is subtracted.",
        square(causal=True, query_std=60.0),
    ),
    Case(
        "sdpa/long",
        "More keys than a tile of 16, 32 or 64 holds, and a chunk of queries that begins inside one.",
        chunk(seq_q=35, seq_kv=67),
    ),
    Case(
        "sdpa/float16",
        "Tensors and output in float16.",
        square(causal=True, precision="float16"),
    ),
    Case(
        "sdpa/float16-mask",
        "A float mask in float16, as query, key and value are.",
        rectangle(bias=(4, 7, 10), precision="float16"),
    ),
    Case(
        "sdpa/bfloat16",
        "Tensors and output in bfloat16.",
        square(causal=True, precision="bfloat16"),
    ),
    Case(
        "sdpa/bfloat16-gqa",
        "Grouped heads in bfloat16, as models run.",
        rectangle(num_heads=6, num_kv_heads=2, precision="bfloat16"),
    ),
    Case(
        "sdpa/float64",
        "Inputs in float64 with values that float32 rounds.",
        square(causal=True, precision="float64"),
    ),
    Case(
        "sdpa/window",
        "A sliding window: a query sees itself and the three keys before it.",
        windowed(),
    ),
    Case(
        "sdpa/window-two-sided",
        "A window without causality: a query sees two keys on either side of itself.",
        windowed(causal=False, window=3),
    ),
    Case(
        "sdpa/window-lower-right",
        "A sliding window over a past, which the first keys have left.",
        windowed(seq_q=4, alignment="lower-right"),
    ),
    Case(
        "sdpa/window-decode",
        "One query whose window is shorter than the past: the causal mask hides nothing.",
        windowed(seq_q=1, alignment="lower-right"),
    ),
    Case(
        "sdpa/window-gqa",
        "A sliding window over grouped heads.",
        windowed(num_heads=6, num_kv_heads=2),
    ),
    Case(
        "sdpa/softcap",
        "Scores bent by c tanh(score / c), as in Gemma, before the causal mask.",
        square(causal=True, softcap=1.5),
    ),
    Case(
        "sdpa/softcap-window",
        "Bent scores in a sliding window.",
        windowed(softcap=1.5),
    ),
    Case(
        "sdpa/alibi",
        "ALiBi for six heads, whose slopes are those of four heads and every other one of eight.",
        square(num_heads=6, causal=True, alibi=True),
    ),
    Case(
        "sdpa/alibi-eight",
        "ALiBi for eight heads without causality: keys after the query lose as much as those before it.",
        square(num_heads=8, alibi=True),
    ),
    Case(
        "sdpa/alibi-lower-right",
        "ALiBi in a chunk of queries: distances are counted from each query's place after the past.",
        chunk(num_heads=6, alibi=True),
    ),
    Case(
        "sdpa/alibi-decode",
        "ALiBi for one query, which stands at the last key: the causal mask hides nothing.",
        decode(num_heads=6, causal=True, alignment="lower-right", alibi=True),
    ),
    Case(
        "sdpa/sinks",
        "One more logit for each head, which takes weight from all keys and has no value.",
        rectangle(sinks=True),
    ),
    Case(
        "sdpa/sinks-window-gqa",
        "Sinks over a causal window and grouped heads, as in gpt-oss.",
        windowed(num_heads=6, num_kv_heads=2, sinks=True),
    ),
    Case(
        "sdpa/past",
        "Past keys and values before the new ones: query i sees the past and the new keys 0 to i.",
        square(num_heads=6, num_kv_heads=2, seq_q=4, seq_kv=4, past_len=6, causal=True, v_head_dim=12),
    ),
    Case(
        "sdpa/past-unmasked",
        "Past keys and values of cross attention, which every query sees.",
        square(seq_q=5, seq_kv=3, past_len=6),
    ),
    Case(
        "sdpa/key-lengths",
        "Valid keys of each batch element in a longer buffer, nonpad_kv_seqlen in ONNX; others are hidden.",
        rectangle(key_lengths=(6, 10, 3)),
    ),
    Case(
        "sdpa/key-lengths-causal",
        "A chunk of queries at the end of each batch element's own valid keys.",
        chunk(num_heads=6, num_kv_heads=2, key_lengths=(7, 10, 5)),
    ),
    Case(
        "sdpa/key-lengths-decode",
        "One query at the end of each batch element's own valid keys, with ALiBi by its own distances.",
        decode(num_heads=6, causal=True, alignment="lower-right", key_lengths=(9, 5, 11), alibi=True),
    ),
    Case(
        "sdpa/first-positions",
        "A causal mask that begins at another key in each batch element.",
        square(seq_q=4, seq_kv=10, causal=True, first_positions=(3, 0, 6)),
    ),
    Case(
        "sdpa/first-positions-window",
        "A sliding window that begins at another key in each batch element, after a past.",
        windowed(seq_q=4, seq_kv=5, past_len=5, first_positions=(6, 2, 4)),
    ),
    Case(
        "sdpa/softmax-in-halves",
        "Scores that are rounded to float16 before the softmax: its rounding is allowed noise.",
        rectangle(allow=(3, 1, 7, 10), softmax_precision="float16"),
    ),
    Case(
        "sdpa/softmax-in-brain-floats",
        "A causal softmax in bfloat16 over grouped heads, in attention that is otherwise float32.",
        chunk(num_heads=6, num_kv_heads=2, softmax_precision="bfloat16"),
    ),
    Case(
        "sdpa/float16-softmax",
        "Tensors in float16 with a softmax in float32, as many models ask for.",
        square(causal=True, precision="float16", softmax_precision="float32"),
    ),
)
