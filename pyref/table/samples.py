"""PyTorch's own test samples, from torch.testing._internal in the pinned wheel.

The wheel has 25 samples of scaled_dot_product_attention and 192 of multi_head_attention_forward
(op_db in common_methods_invocations), and 64 of nn.MultiheadAttention (module_db in
common_modules). Shapes and options are PyTorch's. Values are drawn like every other case's.

Among samples with the same options the largest becomes a case, which makes 35 cases of 281
samples. Some settings do not count as options:

    dropout
    settings without effect: enable_gqa with equal numbers of heads, batch_first without a batch
    whether padding, attn_mask or both hide a key

The cases turn enable_gqa on and use both masks, and their drawn attn_mask hides further keys.

The tensors are tiny, 2 or 4 features wide, so some mistakes change next to nothing.
"""

from itertools import product

from pyref.build.case import Case
from pyref.ops.mha_samples import ForwardFunction, SampleLayer
from pyref.ops.padding import right
from pyref.ops.sdpa import ScaledDotProductAttention

SHAPES = {
    "no-batch": {"batch": None},
    "batch": {"batch": 4},
    "shared-query": {"batch": 4, "shared_query": True},
}


def sdpa() -> list[Case]:
    """Return the samples of scaled_dot_product_attention."""
    options = {"num_heads": 4, "seq_q": 3, "seq_kv": 6, "head_dim": 8, "v_head_dim": 8}
    cases = [
        Case(
            f"samples/sdpa-{shape}{'-causal' * causal}",
            f"PyTorch's sample of scaled_dot_product_attention: {plain(shape)}, is_causal={causal}.",
            ScaledDotProductAttention(**SHAPES[shape], **options, num_kv_heads=4, causal=causal),
        )
        for shape, causal in product(SHAPES, (False, True))
    ]
    masked = Case(
        "samples/sdpa-batch-mask",
        "PyTorch's sample of scaled_dot_product_attention: batch, with a float mask.",
        ScaledDotProductAttention(batch=4, **options, bias=(3, 6), masked_share=0),
    )
    return [*cases, masked]


def forward() -> list[Case]:
    """Return the samples of multi_head_attention_forward; those with a batch are sequence-first."""
    masks = {"no-mask": None, "mask": 2, "mask-per-head": 3}
    cases = []
    for (shape, batch), separate, (mask, ndim) in product(
        (("no-batch", None), ("batch", 2)), (False, True), masks.items()
    ):
        weights = "separate" if separate else "packed"
        cases.append(
            Case(
                f"samples/forward-{shape}-{weights}-{mask}",
                "PyTorch's sample of multi_head_attention_forward: "
                f"{plain(shape)}, {weights} weights, {plain(mask)}.",
                ForwardFunction(
                    batch=batch,
                    seq_q=3,
                    seq_kv=5,
                    embed_dim=4,
                    num_heads=2,
                    input_layout="sequence-first",
                    separate=separate,
                    add_bias_kv=True,
                    float_mask_ndim=ndim,
                    masked_share=0,
                    need_weights="averaged",
                ),
            )
        )
    return cases


def module() -> list[Case]:
    """Return the samples of nn.MultiheadAttention, all without a batch."""
    cases = []
    for bias, bias_kv, zero_attn, masked in product((True, False), repeat=4):
        options = {"bias": bias, "add_bias_kv": bias_kv, "add_zero_attn": zero_attn}
        on = [name.replace("_", "-") for name, value in options.items() if value] + ["masked"] * masked
        cases.append(
            Case(
                "-".join(["samples/module", *(on or ["bare"])]),
                f"PyTorch's sample of nn.MultiheadAttention: {', '.join(on or ['no option'])}.",
                SampleLayer(
                    batch=None,
                    seq_q=3,
                    seq_kv=3,
                    embed_dim=3,
                    num_heads=3,
                    **options,
                    padding=right(2) if masked else None,
                    bool_mask_ndim=3 if masked else None,
                    need_weights="averaged",
                    mode="eval",
                ),
            )
        )
    return cases


def plain(option: str) -> str:
    """Return a part of a name as words."""
    return option.replace("-", " ")


CASES = (*sdpa(), *forward(), *module())
