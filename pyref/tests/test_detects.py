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


def possible(fields: dict) -> set[str]:
    """Return the mistakes that can be made in a case, as its case.json has it."""
    config, inputs = fields["config"], fields["inputs"]
    mistakes = {name for name in MISTAKES if name.startswith("weights-") and "state_dict" in fields}
    mistakes |= {"causal-missing"} if config["causality"] != "none" else set()
    mistakes |= {"padding-ignored"} if "padding" in inputs else set()
    mistakes |= {"mask-ignored"} if inputs.keys() & {"allow", "block"} else set()
    mistakes |= {"bias-ignored"} if "bias" in inputs else set()
    one_feature_a_head = config.get("embed_dim", 0) == config.get("num_heads", 1)  # its scale is 1
    return mistakes | ({"scale-missing"} if config.get("scale") != 1 and not one_feature_a_head else set())


@each_case
def test_a_case_claims_or_is_blind_to_every_mistake_that_can_be_made_in_it(case, made):
    fields = record(made, case.name)
    assert possible(fields) == {*fields["detects"], *case.blind}
    assert set(fields["detects"]).isdisjoint(case.blind)


def test_every_mistake_is_claimed_by_some_case(made):
    claimed = {mistake for case in CASES for mistake in record(made, case.name)["detects"]}
    assert claimed == set(MISTAKES)
