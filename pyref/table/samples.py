"""PyTorch's own test samples, from torch.testing._internal in the pinned wheel.

They are 25 samples of scaled_dot_product_attention and 192 of multi_head_attention_forward (op_db in
common_methods_invocations), and 64 of nn.MultiheadAttention (module_db in common_modules). Shapes and options
are theirs, values are drawn like every other case's.

One rule says which of them are cases: of the samples that take the same options, the largest. Dropout does
not count as an option, nor does what cannot change the output: enable_gqa with as many key heads as query
heads, batch_first without a batch, and which of padding and attn_mask hides a key, or both. The cases have
enable_gqa on and both masks, and the drawn attn_mask hides further keys. So the 281 samples have 35 cases.

The tensors are tiny, 2 or 4 features wide, and some mistakes change next to nothing.
"""

from itertools import product

from pyref.case import Case
from pyref.padding import right
from pyref.samples import ForwardFunction, SampleLayer
from pyref.sdpa import ScaledDotProductAttention

SHAPES = {
    "no-batch": {"B": None},
    "batch": {"B": 4},
    "shared-query": {"B": 4, "shared_query": True},
}


def sdpa() -> list[Case]:
    """Return the samples of scaled_dot_product_attention."""
    options = {"H": 4, "L": 3, "S": 6, "E": 8, "Ev": 8}
    cases = [
        Case(
            f"samples/sdpa-{shape}{'-causal' * causal}",
            f"PyTorch's sample of scaled_dot_product_attention: {plain(shape)}, is_causal={causal}.",
            ScaledDotProductAttention(**SHAPES[shape], **options, Hk=4, causal=causal),
        )
        for shape, causal in product(SHAPES, (False, True))
    ]
    masked = Case(
        "samples/sdpa-batch-mask",
        "PyTorch's sample of scaled_dot_product_attention: batch, with a float mask.",
        ScaledDotProductAttention(B=4, **options, bias=(3, 6), hidden=0),
    )
    return [*cases, masked]


def forward() -> list[Case]:
    """Return the samples of multi_head_attention_forward, sequence first where there is a batch."""
    masks = {"no-mask": None, "mask": 2, "mask-per-head": 3}
    cases = []
    for (batch, B), separate, (mask, scores) in product(
        (("no-batch", None), ("batch", 2)), (False, True), masks.items()
    ):
        weights = "separate" if separate else "packed"
        cases.append(
            Case(
                f"samples/forward-{batch}-{weights}-{mask}",
                "PyTorch's sample of multi_head_attention_forward: "
                f"{plain(batch)}, {weights} weights, {plain(mask)}.",
                ForwardFunction(
                    B=B,
                    L=3,
                    S=5,
                    D=4,
                    H=2,
                    layout="sequence-first",
                    separate=separate,
                    add_bias_kv=True,
                    scores=scores,
                    hidden=0,
                    need_weights="averaged",
                ),
            )
        )
    return cases


def module() -> list[Case]:
    """Return the samples of nn.MultiheadAttention, none of which has a batch."""
    cases = []
    for bias, bias_kv, zero_attn, masked in product((True, False), repeat=4):
        options = {"bias": bias, "add_bias_kv": bias_kv, "add_zero_attn": zero_attn}
        on = [name.replace("_", "-") for name, value in options.items() if value] + ["masked"] * masked
        cases.append(
            Case(
                "-".join(["samples/module", *(on or ["bare"])]),
                f"PyTorch's sample of nn.MultiheadAttention: {', '.join(on or ['no option'])}.",
                SampleLayer(
                    B=None,
                    L=3,
                    S=3,
                    D=3,
                    H=3,
                    **options,
                    padding=right(2) if masked else None,
                    block=3 if masked else None,
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
