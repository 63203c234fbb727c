"""The layer torch.nn.MultiheadAttention."""

from pyref.build.case import Case
from pyref.ops.mha import MultiheadAttention
from pyref.ops.mha_samples import SampleLayer
from pyref.ops.padding import left, right


def self_attention(**options: object) -> MultiheadAttention:
    """Return self-attention of width 40 with 4 heads, or with `seq_kv` attention to a memory."""
    return MultiheadAttention(**({"batch": 5, "seq_q": 9, "embed_dim": 40, "num_heads": 4} | options))


def cross_attention(**options: object) -> MultiheadAttention:
    """Return attention of 7 queries to a memory of 10 keys."""
    return self_attention(**({"seq_q": 7, "seq_kv": 10} | options))


CASES = (
    Case(
        "mha/unmasked",
        "More rows than least squares has unknowns, so that it can find the parameter that is wrong.",
        self_attention(batch=20),
    ),
    Case(
        "mha/causal",
        "Causal self-attention: query 0 sees only key 0, so an exact row 0 puts the fault in the scores.",
        self_attention(causal=True),
    ),
    Case(
        "mha/padding",
        "Self-attention over sequences padded on the right, each to a different length.",
        self_attention(padding=right(7, 9, 4, 6, 2)),
    ),
    Case(
        "mha/causal-left-padding",
        "Causal and padded on the left: the first queries of a padded sequence see no key and give the output"
        " bias, and each mistake leaves its own pattern of wrong rows.",
        self_attention(causal=True, padding=left(7, 9, 4, 6, 2)),
    ),
    Case(
        "mha/cross",
        "Cross-attention as long as its memory: only the numbers show query and memory swapped.",
        self_attention(seq_kv=9, padding=right(6, 9, 4, 8, 2)),
    ),
    Case(
        "mha/cross-kdim",
        "Keys and values of their own widths, which PyTorch projects with separate weights.",
        cross_attention(kdim=28, vdim=24, padding=right(6, 10, 4, 8, 2)),
    ),
    Case(
        "mha/no-bias",
        "Causal self-attention without biases: the state dict has only the two weights.",
        self_attention(bias=False, causal=True),
    ),
    Case(
        "mha/hot",
        "Weights of unit variance: scores above 88, which overflow exp unless the maximum is subtracted.",
        self_attention(causal=True, weight_std=1.0),
    ),
    Case(
        "mha/sequence-first",
        "Inputs and output with the sequence first and the batch second, causal.",
        self_attention(causal=True, input_layout="sequence-first"),
    ),
    Case(
        "mha/sequence-first-cross",
        "Cross-attention with the sequence first; padding has the batch first all the same.",
        cross_attention(padding=right(5, 10, 3, 9, 2), input_layout="sequence-first"),
    ),
    Case(
        "mha/unbatched",
        "Inputs and output of 2 dimensions, without a batch, causal.",
        self_attention(batch=None, causal=True),
    ),
    Case(
        "mha/unbatched-padding",
        "Cross-attention without a batch, with padding of a single dimension and a mask for each head.",
        cross_attention(batch=None, padding=right(6), bool_mask_ndim=3),
    ),
    Case(
        "mha/cross-left-padding",
        "Cross-attention to a memory padded on the left, each sequence to a different length.",
        cross_attention(padding=left(6, 10, 4, 8, 2)),
    ),
    Case(
        "mha/kdim",
        "Keys alone of their own width: values are a second tensor as wide as the model.",
        cross_attention(kdim=28),
    ),
    Case(
        "mha/vdim",
        "Values alone of their own width, causal and without biases.",
        cross_attention(seq_q=10, vdim=24, bias=False, causal=True),
    ),
    Case(
        "mha/memory-width",
        "One memory of its own width: keys and values are one tensor with two separate weights.",
        cross_attention(kdim=28, vdim=28),
    ),
    Case(
        "mha/three-tensors",
        "Query, key and value are three tensors of the same width.",
        SampleLayer(batch=5, seq_q=7, seq_kv=10, embed_dim=40, num_heads=4),
    ),
    Case(
        "mha/cross-causal",
        "Causal cross-attention with fewer queries than keys, aligned top-left: no query sees the last keys.",
        cross_attention(causal=True),
    ),
    Case(
        "mha/bias-kv",
        "A learned key and value after those of the sequence, which every query sees, causal.",
        self_attention(causal=True, add_bias_kv=True),
    ),
    Case(
        "mha/zero-attn",
        "A key and value of zeros after those of the sequence, which every query sees, causal.",
        self_attention(causal=True, add_zero_attn=True),
    ),
    Case(
        "mha/bias-kv-zero-attn-left-padding",
        "Learned, then zero key, causal and padded on the left: a query that sees no token sees those two.",
        self_attention(causal=True, padding=left(6, 9, 3, 7, 2), add_bias_kv=True, add_zero_attn=True),
    ),
    Case(
        "mha/block",
        "A bool mask of 2 dimensions, true is ignored, shared by batch and heads.",
        cross_attention(bool_mask_ndim=2),
    ),
    Case(
        "mha/block-per-head",
        "A bool mask of 3 dimensions, whose first runs through the heads of each batch element in turn.",
        cross_attention(batch=3, bool_mask_ndim=3),
    ),
    Case(
        "mha/block-causal",
        "A bool mask beside the causal one: what either hides is hidden.",
        self_attention(causal=True, bool_mask_ndim=2),
    ),
    Case(
        "mha/float-mask",
        "A float mask that is added to the scores, with some -inf.",
        cross_attention(float_mask_ndim=2),
    ),
    Case(
        "mha/float-mask-per-head",
        "A float mask for each head of each batch element, beside padding.",
        cross_attention(batch=3, float_mask_ndim=3, padding=right(7, 10, 5)),
    ),
    Case(
        "mha/float-mask-causal",
        "A float mask beside the causal one, without biases.",
        self_attention(causal=True, float_mask_ndim=2, masked_share=0, bias=False),
    ),
    Case(
        "mha/six-heads",
        "Heads that are no power of two, causal and padded on the right.",
        MultiheadAttention(
            batch=4, seq_q=9, embed_dim=60, num_heads=6, causal=True, padding=right(8, 9, 5, 3)
        ),
    ),
    Case(
        "mha/eval-left-padding",
        "Eval mode without the fast path: a query that sees no key gives the output bias, as in train mode.",
        self_attention(causal=True, padding=left(8, 9, 3, 6, 2), mode="eval"),
    ),
    Case(
        "mha/fast",
        "The fast path, which PyTorch takes for self-attention in eval mode, with nothing hidden.",
        self_attention(mode="fast"),
    ),
    Case(
        "mha/fast-padding",
        "The fast path with padding on the right.",
        self_attention(padding=right(8, 9, 5, 6, 3), mode="fast"),
    ),
    Case(
        "mha/fast-left-padding",
        "The fast path, causal and padded on the left: the first queries of a padded sequence see no key and"
        " give NaN.",
        self_attention(causal=True, padding=left(6, 9, 5, 7, 3), mode="fast"),
    ),
    Case(
        "mha/fast-block-per-head",
        "The fast path with a bool mask for each head of each batch element.",
        self_attention(batch=3, bool_mask_ndim=3, mode="fast"),
    ),
    Case(
        "mha/fast-weights",
        "The weights of each head from the fast path.",
        self_attention(causal=True, need_weights="per-head", mode="fast"),
    ),
    Case(
        "mha/weights",
        "The attention weights, averaged over the heads.",
        cross_attention(padding=right(9, 10, 5, 7, 3), need_weights="averaged"),
    ),
    Case(
        "mha/weights-per-head",
        "The attention weights of each head, causal.",
        self_attention(causal=True, need_weights="per-head"),
    ),
    Case(
        "mha/weights-bias-kv-zero-attn",
        "Weights that count the learned and the zero key, sequence first.",
        cross_attention(
            input_layout="sequence-first", add_bias_kv=True, add_zero_attn=True, need_weights="averaged"
        ),
    ),
    Case(
        "mha/weights-unbatched",
        "Averaged weights of 2 dimensions, without a batch, in eval mode.",
        cross_attention(batch=None, bool_mask_ndim=2, need_weights="averaged", mode="eval"),
    ),
    Case(
        "mha/weights-left-padding",
        "Weights, causal and padded on the left: a query that sees no key gives NaN, and so do its weights.",
        self_attention(causal=True, padding=left(5, 9, 3, 7, 4), need_weights="averaged", mode="eval"),
    ),
)
