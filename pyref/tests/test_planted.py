"""The plain attention is right, and every mistake that it can make is made."""

import numpy as np

from pyref.mistakes import Call
from pyref.planted.plain import as_recorded, plain
from pyref.tests.support import each_case

ROUNDING = 1e-10  # of the largest element, between two ways to compute the same in float64


@each_case
def test_plain_attention_computes_the_truth(case):
    call = Call.of(case)
    want = call.truth()["output"]
    result = plain(call.operation, call.inputs, call.parameters).compute()
    got = as_recorded(result, call.operation, want.ndim).numpy()
    assert got.shape == want.shape
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    assert np.nanmax(abs(got - want)) <= ROUNDING * np.nanmax(abs(want))
