"""RotaryEmbedding of ONNX against the rotary positions of a decoder, and its refusals."""

import numpy as np
import pytest

from pyref.build.pinned_torch import torch
from pyref.build.rng import Stream
from pyref.crosscheck import rotary as crosscheck
from pyref.ops.rope import Rope
from pyref.ops.rotary import RotaryEmbedding
from pyref.table import rotary
from pyref.tests.support import named

SHAPE = {"batch": 2, "num_heads": 3, "seq": 4, "head_dim": 6}


@pytest.mark.parametrize("style", ["half", "interleaved"])
@pytest.mark.parametrize("dim", [4, 6])
def test_positions_in_order_give_the_rotary_positions_of_a_decoder(style, dim):
    operation = RotaryEmbedding(**SHAPE, style=style, dim=dim, table_len=9)
    inputs = dict(operation.draw_inputs(Stream(1)))
    inputs["positions"] = np.broadcast_to(np.arange(2, 6), (2, 4)).copy()
    want = Rope(style=style, dim=dim, base=100).rotate(torch.from_numpy(inputs["input"]).double(), first=2)
    got = operation.forward(inputs, {}, "float64")["output"]
    np.testing.assert_allclose(got, want.numpy(), atol=1e-6)  # the tables are rounded to float32


@pytest.mark.parametrize("table_len", [None, 9])
@pytest.mark.parametrize("style", ["half", "interleaved"])
def test_heads_side_by_side_turn_like_heads_one_after_the_other(style, table_len):
    merged = RotaryEmbedding(**SHAPE, style=style, table_len=table_len, merged=True)
    inputs = dict(merged.draw_inputs(Stream(2)))
    together = merged.forward(inputs, {}, "float64")["output"]
    inputs["input"] = inputs["input"].reshape(2, 4, 3, 6).swapaxes(1, 2).copy()
    apart = RotaryEmbedding(**SHAPE, style=style, table_len=table_len).forward(inputs, {}, "float64")[
        "output"
    ]
    np.testing.assert_array_equal(together, apart.swapaxes(1, 2).reshape(2, 4, 18))


@pytest.mark.parametrize("case", rotary.CASES, ids=lambda case: case.name)
def test_every_token_stands_elsewhere_and_no_mistake_hides(case):
    inputs, _ = case.draw()
    if "positions" in inputs:
        positions = inputs["positions"]
        assert len({tuple(row) for row in positions}) == len(positions)
        assert not (positions == np.arange(positions.shape[1])).any(axis=1).all()
        assert positions.max() < len(inputs["cos"])
    assert (np.abs(case.operation.tables()["sin"]) > 0.01).mean() > 0.9


def test_features_beyond_the_part_stay():
    operation = named("rotary/partial").operation
    inputs, _ = named("rotary/partial").draw()
    output = operation.forward(inputs, {}, "float32")["output"]
    np.testing.assert_array_equal(output[..., 6:], inputs["input"][..., 6:])
    assert (output[..., :6] != inputs["input"][..., :6]).mean() > 0.9


def test_the_cross_check_turns_by_a_quarter():
    inputs = {"input": np.array([[[[1.0, 2, 3, 4]]]]), "cos": np.zeros((1, 1, 2)), "sin": np.ones((1, 1, 2))}
    assert crosscheck.compute({"style": "half"}, inputs)["output"].ravel().tolist() == [-3, -4, 1, 2]
    assert crosscheck.compute({"style": "interleaved"}, inputs)["output"].ravel().tolist() == [-2, 1, -4, 3]
