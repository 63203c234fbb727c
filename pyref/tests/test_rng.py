"""Random tensors have known bits and the right moments, and are independent of each other."""

import numpy as np

from pyref.build.rng import Stream


def test_known_values():
    # From the definition: the second half of the key is the beginning of the sha256 of "y".
    raw = np.random.Philox(key=np.array([7, 0xA1FCE4363854FF88], dtype=np.uint64)).random_raw(12).tolist()
    halves = [half for word in raw for half in (word % 2**32, word // 2**32)]
    sums = [sum(halves[:12]), sum(halves[12:])]
    want = [np.float32(((s - 6 * (2**32 - 1)) / 2**32) * 0.5) for s in sums]
    assert Stream(7).normal("y", (2,), 0.5).tolist() == want


def test_moments():
    values = Stream(1).normal("moments", (100_000,), 3.0).astype(np.float64)
    assert abs(values.mean()) < 0.04
    assert abs(values.std() - 3) < 0.03
    assert np.abs(values).max() <= 18


def test_float64_values_are_the_float32_ones_before_they_are_rounded():
    single, double = (Stream(1).normal("x", (1000,), dtype=dtype) for dtype in (np.float32, np.float64))
    assert (single == double.astype(np.float32)).all()
    assert (single != double).mean() > 0.9


def test_chance_is_true_as_often_as_asked():
    assert abs(Stream(1).chance("share", (100_000,), 0.6).mean() - 0.6) < 0.006


def test_seed_and_name_each_make_another_tensor():
    one = Stream(1).normal("a", (64,))
    for other in (Stream(2).normal("a", (64,)), Stream(1).normal("b", (64,))):
        assert not np.isin(one, other).any()


def test_a_longer_tensor_starts_with_the_shorter_one():
    assert (Stream(1).words("a", (9,))[:5] == Stream(1).words("a", (5,))).all()
