"""The attention modules and the known mistakes in them."""

import json
from pathlib import Path

import numpy as np
import pytest

from pyref.build.rng import Stream
from pyref.models import attention_store as store

DATA = Path(__file__).parents[2] / "harness/internal/sites/testdata"


@pytest.mark.parametrize("name", store.modules())
def test_the_mistakes_in_attention_modules_are_todays(name):
    """The stored outputs are the ones that the mistakes give, and each moves the output."""
    module = store.modules()[name].eval()
    store.shake(module, Stream(len(name)))
    mistakes, right = store.mistakes(name), store.wrong(name, module, lambda _: None)
    assert json.loads((DATA / f"{name}.json").read_text()) == list(mistakes)
    for (identity, plant), output in zip(mistakes.items(), np.load(DATA / f"{name}.npy"), strict=True):
        np.testing.assert_allclose(output, store.wrong(name, module, plant), rtol=1e-4, atol=1e-5)
        assert np.abs(output - right).max() > 1e-4, identity
