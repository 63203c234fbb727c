"""The wrong numbers in small models are the stored ones."""

import json
from pathlib import Path

import numpy as np
import pytest

from pyref.build.rng import Stream
from pyref.models import numbers, store

STORED = Path(__file__).parents[2] / "harness/internal/edits/testdata"


@pytest.mark.parametrize("name", numbers.models())
def test_the_wrong_numbers_are_todays(name):
    model, known = numbers.models()[name]
    store.shake(model, Stream(len(name)))
    planted = list(numbers.plants(name, known, numbers.DRAWS))
    told = json.loads((STORED / f"{name}-numbers.json").read_text())
    assert [p.value for p in planted] == [t["value"] for t in told]
    made = np.stack([numbers.wrong(model.eval(), plant) for plant in planted])
    stored = np.load(STORED / f"{name}-numbers.npy")
    np.testing.assert_allclose(made, stored, rtol=1e-4, atol=1e-5)
