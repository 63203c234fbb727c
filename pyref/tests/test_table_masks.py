"""Each case's mask hides the keys that its row of the table says, and no others.

The visible positions are written out by hand here. For every key the test changes key and value and
runs PyTorch again. The rows that see the key must change, and all others must stay the same bits.
"""

from dataclasses import replace

import numpy as np
import pytest

from pyref.build.case import Case
from pyref.build.rng import Stream
from pyref.ops.decoder import DecoderAttention
from pyref.ops.mha import MultiheadAttention
from pyref.ops.operation import Arrays
from pyref.ops.padding import left, right
from pyref.ops.rotary import RotaryEmbedding
from pyref.ops.sdpa import ScaledDotProductAttention
from pyref.ops.seed import SeedLayer
from pyref.table import CASES
from pyref.tests.support import named

# test_decoder.py tests the decoder layers, whose keys may lie in a cache. Rotations have no keys.
each_attention = pytest.mark.parametrize(
    "case",
    [case for case in CASES if not isinstance(case.operation, (DecoderAttention, RotaryEmbedding))],
    ids=lambda case: case.name,
)

# Whether query i sees key j by position, in every batch element and head. Masks are inputs.
CAUSAL = {
    "sdpa/causal",
    "sdpa/causal-rectangular",
    "sdpa/decode-top-left",
    "sdpa/no-batch",
    "sdpa/hot",
    "sdpa/float16",
    "sdpa/bfloat16",
    "sdpa/float64",
    "sdpa/softcap",
    "sdpa/alibi",
    "mha/causal",
    "mha/causal-left-padding",
    "mha/no-bias",
    "mha/hot",
    "mha/sequence-first",
    "mha/unbatched",
    "mha/vdim",
    "mha/cross-causal",
    "mha/bias-kv",
    "mha/zero-attn",
    "mha/bias-kv-zero-attn-left-padding",
    "mha/block-causal",
    "mha/float-mask-causal",
    "mha/six-heads",
    "mha/eval-left-padding",
    "mha/fast-left-padding",
    "mha/fast-weights",
    "mha/weights-per-head",
    "mha/weights-left-padding",
    "seed/causal",
    "layouts/torch-parallel",
    "layouts/seed-parallel",
    "samples/sdpa-no-batch-causal",
    "samples/sdpa-batch-causal",
    "samples/sdpa-shared-query-causal",
}
BY_POSITION = dict.fromkeys(CAUSAL, lambda i, j: j <= i) | {
    "sdpa/causal-lower-right": lambda i, j: j <= i + 6,
    "sdpa/gqa-causal-lower-right": lambda i, j: j <= i + 6,
    "sdpa/long": lambda i, j: j <= i + 32,
    "sdpa/float16-softmax": lambda i, j: j <= i,
    "sdpa/softmax-in-brain-floats": lambda i, j: j <= i + 6,
    "sdpa/alibi-lower-right": lambda i, j: j <= i + 6,
    "sdpa/window": lambda i, j: i - 3 <= j <= i,
    "sdpa/window-gqa": lambda i, j: i - 3 <= j <= i,
    "sdpa/softcap-window": lambda i, j: i - 3 <= j <= i,
    "sdpa/sinks-window-gqa": lambda i, j: i - 3 <= j <= i,
    "sdpa/window-two-sided": lambda i, j: i - 2 <= j <= i + 2,
    "sdpa/window-lower-right": lambda i, j: i + 4 <= j <= i + 7,
    "sdpa/window-decode": lambda i, j: j >= 7,
}
BY_ELEMENT = {
    "sdpa/past": lambda b, i, j: j <= i + 6,
    "sdpa/key-lengths": lambda b, i, j: j < (6, 10, 3)[b],
    "sdpa/key-lengths-causal": lambda b, i, j: j <= i + (3, 6, 1)[b],
    "sdpa/key-lengths-decode": lambda b, i, j: j < (9, 5, 11)[b],
    "sdpa/first-positions": lambda b, i, j: j <= i + (3, 0, 6)[b],
    "sdpa/first-positions-window": lambda b, i, j: i - 4 < j - (6, 2, 4)[b] <= i,
}


def expected(case: Case, inputs: Arrays) -> np.ndarray:
    """Return bool (B, H, L, S), true where a query sees a key: by hand, and by the input masks."""
    L, S = rows(case.operation, inputs["query"]).shape[-2], sum(keys(case.operation, inputs))
    position = BY_POSITION.get(case.name, lambda i, j: True)
    sees = np.array([[position(i, j) for j in range(S)] for i in range(L)])
    if case.name in BY_ELEMENT:
        see, elements = BY_ELEMENT[case.name], range(case.operation.batch)
        sees = np.array([[[[see(b, i, j) for j in range(S)] for i in range(L)]] for b in elements])
    if "allow" in inputs:
        sees = sees & inputs["allow"]
    if "bias" in inputs:
        sees = sees & ~hidden(inputs["bias"])
    if "block" in inputs:
        sees = sees & ~heads(case.operation, inputs["block"])
    if "padding" in inputs:
        sees = sees & ~np.atleast_2d(inputs["padding"])[:, None, None, :]
    return np.broadcast_to(sees, np.broadcast_shapes(sees.shape, (1, 1, L, S)))


def keys(operation: object, inputs: Arrays) -> tuple[int, int]:
    """Return the numbers of keys in the past of a function, and of new ones."""
    past = getattr(operation, "past_len", 0) if isinstance(operation, ScaledDotProductAttention) else 0
    return past, rows(operation, inputs["key"]).shape[-2]


def hidden(bias: np.ndarray) -> np.ndarray:
    """Return where a float mask hides a key. A finite number in a whole row hides no key."""
    low = bias.astype(np.float64) < -1e8
    return low & ~(low & np.isfinite(bias)).all(axis=-1, keepdims=True)


def heads(operation: MultiheadAttention, mask: np.ndarray) -> np.ndarray:
    """Return a layer's mask, (L, S) or (B*H, L, S), broadcastable to (B, H, L, S)."""
    return mask.reshape(-1, operation.num_heads, *mask.shape[1:]) if mask.ndim == 3 else mask


def rows(operation: object, tensor: np.ndarray) -> np.ndarray:
    """Return an input or output with the tokens in the last dimension but one."""
    swapped = getattr(operation, "input_layout", None) == "sequence-first" and operation.batch is not None
    return tensor.swapaxes(0, 1) if swapped else tensor


def observed(case: Case, inputs: Arrays) -> np.ndarray:
    """Return bool (..., L, S), true where an output row changes with a key and its value."""
    operation = case.operation
    parameters = operation.draw_parameters(Stream(case.seed))
    apart = {role: array.copy() for role, array in inputs.items()}
    before = operation.forward(apart, parameters, "float32")["output"]
    columns = []
    for j in range(sum(keys(operation, inputs))):
        after = operation.forward(changed(operation, apart, j), parameters, "float32")["output"]
        moved = (before != after) & ~(np.isnan(before) & np.isnan(after))
        columns.append(rows(operation, moved).any(axis=-1))
    return np.stack(columns, axis=-1)


def changed(operation: object, inputs: Arrays, j: int) -> Arrays:
    """Return inputs with another key j and value j in every batch element and head.

    The keys of a function's past are counted first.
    The seed layer has one input for all three roles; its query j sees key j in either case.
    """
    roles, past = (
        ["query"] if isinstance(operation, SeedLayer) else ["key", "value"],
        keys(operation, inputs)[0],
    )
    if j < past:
        roles = ["past_key", "past_value"]
    else:
        j -= past
    copies = {role: inputs[role].copy() for role in roles}
    for copy in copies.values():
        rows(operation, copy)[..., j, :] += 1
    return {**inputs, **copies}


def with_small_scores(case: Case) -> Case:
    """Return the case with the same mask and scores near 1, in float32.

    Scores above 88 round the weights of some visible keys to zero, and float16 loses small changes.
    """
    operation = case.operation
    if isinstance(operation, MultiheadAttention):
        return replace(case, operation=replace(operation, weight_std=None))
    if isinstance(operation, ScaledDotProductAttention):
        return replace(
            case, operation=replace(operation, query_std=min(operation.query_std, 1), precision="float32")
        )
    return case


@each_attention
def test_the_rows_that_see_a_key_are_the_ones_that_change_with_it(case):
    case = with_small_scores(case)
    inputs = case.operation.draw_inputs(Stream(case.seed))
    found, sees = observed(case, inputs), expected(case, inputs)
    if case.operation.name == "multi_head_attention":  # the output projection has mixed the heads
        sees = sees.any(axis=1)
    np.testing.assert_array_equal(
        found, np.broadcast_to(sees.reshape(sees.shape[-found.ndim :]), found.shape)
    )


@each_attention
def test_a_query_sees_nothing_only_where_the_case_is_for_that(case):
    fully_masked = ~expected(case, case.operation.draw_inputs(Stream(case.seed))).any(axis=-1)
    left = getattr(case.operation, "padding", None) and case.operation.padding.side == "left"
    meant = getattr(case.operation, "fully_masked_rows", False) or (case.operation.causal and left)
    finite = getattr(case.operation, "masked_value", -np.inf) > -np.inf
    assert fully_masked.any() == bool(meant and not finite)


def test_padding_is_on_the_side_that_it_is_named_for():
    assert left(3, 1).mask(3).tolist() == [[False, False, False], [True, True, False]]
    assert right(3, 1).mask(3).tolist() == [[False, False, False], [False, True, True]]


@pytest.mark.parametrize(("name", "share"), [("sdpa/bool-mask", 0.60), ("sdpa/float-mask", 0.85)])
def test_a_drawn_mask_hides_about_as_much_as_it_should(name, share):
    operation = named(name).operation
    inputs = operation.draw_inputs(Stream(named(name).seed))
    visible = inputs["allow"] if operation.allow else np.isfinite(inputs["bias"])
    assert abs(visible.mean() - share) < 3 * np.sqrt(share * (1 - share) / visible.size)
