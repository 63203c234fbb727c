"""The layer torch.nn.MultiheadAttention."""

from pyref.case import Case
from pyref.multihead import MultiheadAttention
from pyref.padding import left, right
from pyref.samples import SampleLayer

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
    Case(
        "mha/sequence-first",
        "Inputs and output with the sequence first and the batch second, causal.",
        MultiheadAttention(B=5, L=9, D=40, H=4, causal=True, layout="sequence-first"),
    ),
    Case(
        "mha/sequence-first-cross",
        "Cross-attention with the sequence first; padding has the batch first all the same.",
        MultiheadAttention(B=5, L=7, S=10, D=40, H=4, padding=right(5, 10, 3, 9, 2), layout="sequence-first"),
    ),
    Case(
        "mha/unbatched",
        "Inputs and output of 2 dimensions, without a batch, causal.",
        MultiheadAttention(B=None, L=9, D=40, H=4, causal=True),
    ),
    Case(
        "mha/unbatched-padding",
        "Cross-attention without a batch, with padding of a single dimension and a mask for each head.",
        MultiheadAttention(B=None, L=7, S=10, D=40, H=4, padding=right(6), block=3),
    ),
    Case(
        "mha/cross-left-padding",
        "Cross-attention to a memory padded on the left, each sequence to a different length.",
        MultiheadAttention(B=5, L=7, S=10, D=40, H=4, padding=left(6, 10, 4, 8, 2)),
    ),
    Case(
        "mha/kdim",
        "Keys alone of their own width: values are a second tensor as wide as the model.",
        MultiheadAttention(B=5, L=7, S=10, D=40, H=4, kdim=28),
    ),
    Case(
        "mha/vdim",
        "Values alone of their own width, causal and without biases.",
        MultiheadAttention(B=5, L=10, S=10, D=40, H=4, vdim=24, bias=False, causal=True),
    ),
    Case(
        "mha/memory-width",
        "One memory of its own width: keys and values are one tensor with two separate weights.",
        MultiheadAttention(B=5, L=7, S=10, D=40, H=4, kdim=28, vdim=28),
    ),
    Case(
        "mha/three-tensors",
        "Query, key and value are three tensors of the same width.",
        SampleLayer(B=5, L=7, S=10, D=40, H=4),
    ),
    Case(
        "mha/cross-causal",
        "Causal cross-attention with fewer queries than keys, aligned top-left: no query sees the last keys.",
        MultiheadAttention(B=5, L=7, S=10, D=40, H=4, causal=True),
    ),
    Case(
        "mha/bias-kv",
        "A learned key and value after those of the sequence, which every query sees, causal.",
        MultiheadAttention(B=5, L=9, D=40, H=4, causal=True, add_bias_kv=True),
    ),
    Case(
        "mha/zero-attn",
        "A key and value of zeros after those of the sequence, which every query sees, causal.",
        MultiheadAttention(B=5, L=9, D=40, H=4, causal=True, add_zero_attn=True),
    ),
    Case(
        "mha/bias-kv-zero-attn-left-padding",
        "Learned, then zero key, causal and padded on the left: a query that sees no token sees those two.",
        MultiheadAttention(
            B=5,
            L=9,
            D=40,
            H=4,
            causal=True,
            padding=left(6, 9, 3, 7, 2),
            add_bias_kv=True,
            add_zero_attn=True,
        ),
    ),
    Case(
        "mha/block",
        "A bool mask of 2 dimensions, true is ignored, shared by batch and heads.",
        MultiheadAttention(B=5, L=7, S=10, D=40, H=4, block=2),
    ),
    Case(
        "mha/block-per-head",
        "A bool mask of 3 dimensions, whose first runs through the heads of each batch element in turn.",
        MultiheadAttention(B=3, L=7, S=10, D=40, H=4, block=3),
    ),
    Case(
        "mha/block-causal",
        "A bool mask beside the causal one: what either hides is hidden.",
        MultiheadAttention(B=5, L=9, D=40, H=4, causal=True, block=2),
    ),
    Case(
        "mha/float-mask",
        "A float mask that is added to the scores, with some -inf.",
        MultiheadAttention(B=5, L=7, S=10, D=40, H=4, scores=2),
    ),
    Case(
        "mha/float-mask-per-head",
        "A float mask for each head of each batch element, beside padding.",
        MultiheadAttention(B=3, L=7, S=10, D=40, H=4, scores=3, padding=right(7, 10, 5)),
    ),
    Case(
        "mha/float-mask-causal",
        "A float mask beside the causal one, without biases.",
        MultiheadAttention(B=5, L=9, D=40, H=4, causal=True, scores=2, hidden=0, bias=False),
    ),
    Case(
        "mha/six-heads",
        "Heads that are no power of two, causal and padded on the right.",
        MultiheadAttention(B=4, L=9, D=60, H=6, causal=True, padding=right(8, 9, 5, 3)),
    ),
    Case(
        "mha/eval-left-padding",
        "Eval mode without the fast path: a query that sees no key gives the output bias, as in train mode.",
        MultiheadAttention(B=5, L=9, D=40, H=4, causal=True, padding=left(8, 9, 3, 6, 2), mode="eval"),
    ),
    Case(
        "mha/fast",
        "The fast path, which PyTorch takes for self-attention in eval mode, with nothing hidden.",
        MultiheadAttention(B=5, L=9, D=40, H=4, mode="fast"),
    ),
    Case(
        "mha/fast-padding",
        "The fast path with padding on the right.",
        MultiheadAttention(B=5, L=9, D=40, H=4, padding=right(8, 9, 5, 6, 3), mode="fast"),
    ),
    Case(
        "mha/fast-left-padding",
        "The fast path, causal and padded on the left: the first queries of a padded sequence see no key and"
        " give NaN.",
        MultiheadAttention(B=5, L=9, D=40, H=4, causal=True, padding=left(6, 9, 5, 7, 3), mode="fast"),
    ),
    Case(
        "mha/fast-block-per-head",
        "The fast path with a bool mask for each head of each batch element.",
        MultiheadAttention(B=3, L=9, D=40, H=4, block=3, mode="fast"),
    ),
    Case(
        "mha/fast-weights",
        "The weights of each head from the fast path.",
        MultiheadAttention(B=5, L=9, D=40, H=4, causal=True, need_weights="per-head", mode="fast"),
    ),
    Case(
        "mha/weights",
        "The attention weights, averaged over the heads.",
        MultiheadAttention(B=5, L=7, S=10, D=40, H=4, padding=right(9, 10, 5, 7, 3), need_weights="averaged"),
    ),
    Case(
        "mha/weights-per-head",
        "The attention weights of each head, causal.",
        MultiheadAttention(B=5, L=9, D=40, H=4, causal=True, need_weights="per-head"),
    ),
    Case(
        "mha/weights-bias-kv-zero-attn",
        "Weights that count the learned and the zero key, sequence first.",
        MultiheadAttention(
            B=5,
            L=7,
            S=10,
            D=40,
            H=4,
            layout="sequence-first",
            add_bias_kv=True,
            add_zero_attn=True,
            need_weights="averaged",
        ),
    ),
    Case(
        "mha/weights-unbatched",
        "Averaged weights of 2 dimensions, without a batch, in eval mode.",
        MultiheadAttention(B=None, L=7, S=10, D=40, H=4, block=2, need_weights="averaged", mode="eval"),
    ),
    Case(
        "mha/weights-left-padding",
        "Weights, causal and padded on the left: a query that sees no key gives NaN, and so do its weights.",
        MultiheadAttention(
            B=5,
            L=9,
            D=40,
            H=4,
            causal=True,
            padding=left(5, 9, 3, 7, 4),
            need_weights="averaged",
            mode="eval",
        ),
    ),
)
