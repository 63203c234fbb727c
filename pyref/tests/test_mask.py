"""Each case's mask hides what its row of the table says, and nothing else.

Visible pairs are written out by hand here. For every key, key and value are changed and PyTorch runs again:
the rows that see the key must change, and all others must stay the same to the bit.
"""

from dataclasses import replace

import numpy as np
import pytest

from pyref.case import Arrays, Case
from pyref.decoder import DecoderAttention
from pyref.multihead import MultiheadAttention
from pyref.seed import SeedLayer
from pyref.stream import Stream
from pyref.table import CASES
from pyref.tests.support import named

# test_decoder.py has those of the decoder layers, whose keys may lie in a cache.
each_case = pytest.mark.parametrize(
    "case",
    [case for case in CASES if not isinstance(case.operation, DecoderAttention)],
    ids=lambda case: case.name,
)

# Whether query i of batch element b sees key j, in every head. The inputs hold a mask that was drawn.
SEES = {
    "sdpa/unmasked": lambda b, i, j: True,
    "sdpa/causal": lambda b, i, j: j <= i,
    "sdpa/causal-rectangular": lambda b, i, j: j <= i,
    "mha/unmasked": lambda b, i, j: True,
    "mha/causal": lambda b, i, j: j <= i,
    "mha/padding": lambda b, i, j: j < (7, 9, 4, 6, 2)[b],
    "mha/causal-left-padding": lambda b, i, j: (2, 0, 5, 3, 7)[b] <= j <= i,
    "mha/cross": lambda b, i, j: j < (6, 9, 4, 8, 2)[b],
    "mha/cross-kdim": lambda b, i, j: j < (6, 10, 4, 8, 2)[b],
    "mha/no-bias": lambda b, i, j: j <= i,
    "mha/hot": lambda b, i, j: j <= i,
    "seed/unmasked": lambda b, i, j: True,
    "seed/causal": lambda b, i, j: j <= i,
    "layouts/torch-parallel": lambda b, i, j: j <= i,
    "layouts/seed-parallel": lambda b, i, j: j <= i,
}


def expected(case: Case, inputs: Arrays, shape: tuple[int, ...]) -> np.ndarray:
    """Return bool `shape`, (B, H, L, S) of the function or (B, L, S) of a layer, by hand."""
    sees = np.zeros(shape, dtype=bool)
    for index in np.ndindex(shape):
        b, h, (i, j) = index[0], index[1], index[-2:]
        if case.name == "sdpa/bool-mask":
            sees[index] = inputs["allow"][b, 0, i, j]
        elif case.name == "sdpa/float-mask":
            sees[index] = inputs["bias"][h, i, j] != -np.inf
        else:
            sees[index] = SEES[case.name](b, i, j)
    return sees


def observed(case: Case, inputs: Arrays) -> np.ndarray:
    """Return which rows of PyTorch's output change when a key and its value do; keys come last."""
    operation = case.operation
    if isinstance(operation, MultiheadAttention):
        # the mask is the same; scores above 88 would round the weight of some visible keys to zero
        operation = replace(operation, weight_std=None)
    parameters = operation.draw_parameters(Stream(case.seed))
    apart = {role: array.copy() for role, array in inputs.items()}
    before = operation.forward(apart, parameters, "float32")["output"]
    columns = []
    for j in range(inputs["key"].shape[-2]):
        after = operation.forward(changed(operation, apart, j), parameters, "float32")["output"]
        columns.append((before != after).any(axis=-1))
    return np.stack(columns, axis=-1)


def changed(operation: object, inputs: Arrays, j: int) -> Arrays:
    """Return inputs whose key j and value j are others, in every batch element and head.

    The seed layer has one input for all three roles; its query j sees key j in either case.
    """
    roles = ["query"] if isinstance(operation, SeedLayer) else ["key", "value"]
    copies = {role: inputs[role].copy() for role in roles}
    for copy in copies.values():
        copy[..., j, :] += 1
    return {**inputs, **copies}


@each_case
def test_the_rows_that_see_a_key_are_the_ones_that_change_with_it(case):
    inputs = case.operation.draw_inputs(Stream(case.seed))
    found = observed(case, inputs)
    np.testing.assert_array_equal(found, expected(case, inputs, found.shape))


@each_case
def test_only_left_padding_leaves_queries_that_see_nothing(case):
    inputs = case.operation.draw_inputs(Stream(case.seed))
    shape = (*inputs["query"].shape[:-1], inputs["key"].shape[-2])
    blind = ~expected(case, inputs, shape).any(axis=-1)
    assert blind.any() == (case.name == "mha/causal-left-padding")


def test_a_query_that_sees_nothing_gives_the_output_bias():
    case = named("mha/causal-left-padding")
    stream = Stream(case.seed)
    parameters = case.operation.draw_parameters(stream)
    output = case.operation.forward(case.operation.draw_inputs(stream), parameters, "float32")["output"]
    for b, filler in enumerate((2, 0, 5, 3, 7)):
        assert (output[b, :filler] == parameters["out_proj.bias"]).all()
        assert (output[b, filler:] != parameters["out_proj.bias"]).all()


@pytest.mark.parametrize(("name", "share"), [("sdpa/bool-mask", 0.60), ("sdpa/float-mask", 0.85)])
def test_a_drawn_mask_hides_about_as_much_as_it_should(name, share):
    operation = named(name).operation
    mask = operation.draw_inputs(Stream(named(name).seed))[operation.mask]
    visible = mask if operation.mask == "allow" else np.isfinite(mask)
    assert abs(visible.mean() - share) < 3 * np.sqrt(share * (1 - share) / mask.size)
