"""The wrong numbers and parameters in small models are the stored ones."""

import json
from pathlib import Path

import numpy as np
import pytest

from pyref.build.rng import Stream
from pyref.models import numbers, parameters, store

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


@pytest.mark.parametrize("name", parameters.PLANTS)
def test_the_wrong_parameters_are_todays(name):
    told = json.loads((STORED / f"{name}-parameters.json").read_text())
    assert [p.title for p in parameters.PLANTS[name]] == [t["title"] for t in told]
    stored = np.load(STORED / f"{name}-parameters.npy")
    np.testing.assert_allclose(parameters.outputs(name), stored, rtol=1e-4, atol=1e-5)
