"""The plain attention is right, and every mistake that it can make is made, shows and is no other's."""

import json
from itertools import combinations

import numpy as np
import pytest

from pyref.planted import FAMILIES, MISTAKES, store
from pyref.planted.plain import as_recorded, plain
from pyref.tests.support import ROOT, contents, each_case, named, python

PLANTED = ROOT / "harness" / "internal" / "catalogue" / "testdata" / "planted"
ROUNDING = 1e-10  # of the largest element, between two ways to compute the same in float64
SAME = 1e-5  # of the right output's largest element: between two float32 outputs of one mistake

# Mistakes that give the same on some stored case, and why.
EQUIVALENT = {
    ("mask-value-near-zero", "mask-multiplied"): "a score of -1e-9 weighs what one of 0 does",
    ("weights-transposed", "weights-column-major"): "square weights in the wrong order are transposed",
    ("output-weight-transposed", "output-weight-column-major"): "so is a square output weight",
    ("key-weight-zero", "weights-uniform"): "keys that are all the same bias give each query equal scores",
    ("rope-other-style", "rope-weights-permuted-twice"): "pairs move to the other style's places, no cache",
    ("precision-float16", "precision-tf32"): "both round what a function is given to 11 bits",
}


@each_case
def test_plain_attention_computes_the_truth(case):
    inputs, parameters = case.draw()
    want = case.operation.forward(inputs, parameters, "float64")["output"]
    result = plain(case.operation, inputs, parameters).compute()
    got = as_recorded(result, case.operation, want.ndim).numpy()
    assert got.shape == want.shape
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    assert np.nanmax(abs(got - want)) <= ROUNDING * np.nanmax(abs(want))


def test_the_mistakes_and_their_families_are_those_of_difftest(difftest):
    """Random mistakes are not planted: two implementations of one draw different numbers."""
    known: dict[str, set[str]] = {}
    for mistake in json.loads(difftest.printed("mistakes", "--json"))["mistakes"]:
        if not mistake["random"]:
            known.setdefault(mistake["family"], set()).add(mistake["id"])
    assert {family: set(mistakes) for family, mistakes in FAMILIES.items()} == known
    assert sum(map(len, FAMILIES.values())) == len(MISTAKES)


@each_case
def test_a_mistake_keeps_the_shape_and_leaves_the_right_attention_as_it_is(case):
    right = store.attention(case)
    truth = right.compute()
    for name, mistake in MISTAKES.items():
        wrong = mistake(right)
        assert wrong is None or wrong.compute().shape == truth.shape, name
    np.testing.assert_array_equal(right.compute(), truth)


def test_planting_again_makes_the_committed_files(tmp_path):
    done = python("-m", "pyref", "plant", str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{tmp_path}: {len(MISTAKES)} mistakes\n"
    assert contents(tmp_path) == contents(PLANTED)


def stored() -> dict[str, dict[str, np.ndarray]]:
    """Return by case and mistake what is committed."""
    index = json.loads((PLANTED / "index.json").read_text())
    files = {case: np.load(PLANTED / f"{case.replace('/', '-')}.npy") for case in index}
    return {case: dict(zip(index[case], files[case], strict=True)) for case in index}


def same(a: np.ndarray, b: np.ndarray, truth: np.ndarray) -> bool:
    """Report whether two outputs are one to rounding."""
    if (np.isnan(a) != np.isnan(b)).any():
        return False
    return bool(np.nanmax(abs(a.astype(float) - b)) <= SAME * np.nanmax(abs(truth)))


def test_every_mistake_is_stored_for_two_cases_but_one():
    counts = dict.fromkeys(MISTAKES, 0)
    for outputs in stored().values():
        for name in outputs:
            counts[name] += 1
    assert [name for name, count in counts.items() if count != 2] == ["relative-past-ignored"]


def test_what_is_stored_differs_from_the_truth_and_from_each_other():
    found = set()
    for case, outputs in stored().items():
        truth = store.attention(named(case)).compute()[: store.ELEMENTS].numpy()
        assert [name for name, output in outputs.items() if same(output, truth, truth)] == []
        pairs = combinations(outputs, 2)
        found |= {(a, b) for a, b in pairs if same(outputs[a], outputs[b], truth)}
    assert found == set(EQUIVALENT)


def test_a_step_that_does_not_exist_cannot_be_changed():
    with pytest.raises(AttributeError, match="soft_max, want a field or a step"):
        store.attention(named("mha/causal")).changed(soft_max=lambda self, scores: scores)


def test_fresh_cases_show_nearly_every_mistake(tmp_path):
    done = python("-m", "pyref", "plant", "--fresh", "7", str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    index = json.loads((tmp_path / "planted" / "index.json").read_text())
    shown = {name for names in index.values() for name in names}
    assert len(shown & set(MISTAKES)) >= 0.95 * len(MISTAKES)
    for case, names in index.items():
        outputs = np.load(tmp_path / "planted" / f"{case.replace('/', '-')}.npy")
        assert (outputs.dtype, len(outputs)) == (np.float32, len(names))
