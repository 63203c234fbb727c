"""A case claims exactly the mistakes that change what it expects: each is planted in PyTorch and run."""

import numpy as np

from pyref.case import Arrays
from pyref.mistakes import MISTAKES, Call, claims, plant
from pyref.table import CASES
from pyref.tests.support import each_case, record

CLEAR = 0.01  # relative rms: a correct float32 implementation is below 1e-5, every planted mistake above this


def relative_rms(got: np.ndarray, want: np.ndarray) -> float:
    """Return RMS(got - want) / RMS(want) where numbers are wanted; infinite if NaN is elsewhere."""
    numbers = np.isfinite(want)
    if (np.isfinite(got) != numbers).any():
        return np.inf
    return float(np.sqrt(np.mean((got - want)[numbers] ** 2) / np.mean(want[numbers] ** 2)))


def largest(got: Arrays, want: Arrays) -> float:
    """Return the largest difference of any output."""
    return max(relative_rms(got[name], want[name]) for name in want)


@each_case
def test_a_case_claims_exactly_the_mistakes_that_it_can_see(case):
    truth = Call.of(case).truth()
    rels = {mistake: largest(wrong.truth(), truth) for mistake, wrong in plant(case).items()}
    assert {mistake for mistake, rel in rels.items() if rel > CLEAR} == set(claims(case)), rels


@each_case
def test_a_case_is_blind_only_to_mistakes_that_can_be_made_in_it(case):
    assert set(case.blind) <= set(plant(case))


def test_every_mistake_is_claimed_by_some_case(made):
    claimed = {mistake for case in CASES for mistake in record(made, case.name)["detects"]}
    assert claimed == set(MISTAKES)
