"""The plain attention is right, and every known mistake is planted, shows, and is distinct."""

import json
from itertools import combinations

import numpy as np
import pytest

from pyref.planted import FAMILIES, MISTAKES, VARIANTS, rotary, stored_outputs
from pyref.planted.case_attention import as_recorded, plain_attention
from pyref.planted.heads import SplitStrided
from pyref.planted.plain_attention import PlainAttention
from pyref.tests.support import ROOT, contents, each_case, named, python

PLANTED = ROOT / "harness" / "internal" / "catalogue" / "testdata" / "planted"
# Both relative to the largest element.
ROUNDING = 1e-10  # between two float64 computations of one output
SAME = 1e-5  # between two float32 outputs of one mistake

TOO_WIDE = ("last-tile-overlaps-128", "online-softmax-not-rescaled-128")  # no case has 128 keys

# Pairs of mistakes with the same output on some stored case, and the reasons.
EQUIVALENT = {
    ("mask-value-near-zero", "mask-multiplied"): "a score of -1e-9 has the weight of a score of 0",
    ("weights-transposed", "weights-column-major"): "square weights in the wrong order are transposed",
    ("output-weight-transposed", "output-weight-column-major"): "so is a square output weight",
    ("key-weight-zero", "weights-uniform"): "all keys are the same bias, so each query has equal scores",
    (
        "rope-other-style",
        "rope-weights-permuted-twice",
    ): "pairs move to the other style's places without a cache",
    ("precision-float16", "precision-tf32"): "both round the inputs of a function to 11 bits",
    ("precision-bfloat16", "precision-bfloat16-factors"): "a function rounds its inputs alone",
    ("precision-bfloat16-truncated", "precision-bfloat16-factors-truncated"): "as above, cut off",
    ("tail-keys-of-zero", "tail-keys-of-zero-16"): "tiles of 8 and of 16 end at the same key",
    ("tail-keys-repeated", "tail-keys-repeated-16"): "tiles of 8 and of 16 end at the same key",
    ("padding-tiled-over-heads", "padding-by-head"): "as many heads as batch elements give one order",
}


@each_case
def test_plain_attention_computes_the_truth(case):
    inputs, parameters = case.draw()
    want = case.operation.forward(inputs, parameters, "float64")["output"]
    result = plain_attention(case.operation, inputs, parameters).compute()
    got = as_recorded(result, case.operation, want.ndim).numpy()
    assert got.shape == want.shape
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    assert np.nanmax(abs(got - want)) <= ROUNDING * np.nanmax(abs(want))


def test_the_mistakes_and_their_families_are_those_of_difftest(difftest):
    """Random mistakes are not planted, because two implementations draw different numbers."""
    known: dict[str, set[str]] = {}
    for mistake in json.loads(difftest.printed("mistakes", "--json"))["mistakes"]:
        if not mistake["random"] and mistake["family"] not in IN_MODELS:
            known.setdefault(mistake["family"], set()).add(mistake["id"])
    assert {family: set(mistakes) for family, mistakes in FAMILIES.items()} == known
    assert sum(map(len, FAMILIES.values())) == len(MISTAKES)


# The families of mistakes in whole models, which pyref.models makes.
IN_MODELS = (
    "norm",
    "activation",
    "mlp",
    "residual",
    "embedding",
    "head",
    "attention in a model",
    "linear",
    "expert",
    "state space",
    "convolution",
    "pooling and interpolation",
    "recurrent",
    "layer order",
    "schedule",
)


@each_case
def test_a_mistake_keeps_the_shape_and_leaves_the_right_attention_as_it_is(case):
    right = stored_outputs.attention(case)
    truth = right.compute()
    mistakes = rotary.MISTAKES if case.operation.name == "rotary_embedding" else MISTAKES
    for name, mistake in mistakes.items():
        wrong = mistake(right)
        assert wrong is None or wrong.compute().shape == truth.shape, name
    np.testing.assert_array_equal(right.compute(), truth)


def test_planting_again_makes_the_committed_files(tmp_path):
    done = python("-m", "pyref", "plant", str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{tmp_path}: {len(MISTAKES) - len(TOO_WIDE)} mistakes\n"
    assert contents(tmp_path) == contents(PLANTED)


def stored() -> dict[str, dict[str, np.ndarray]]:
    """Return the committed outputs by case and mistake."""
    index = json.loads((PLANTED / "index.json").read_text())
    files = {case: np.load(PLANTED / f"{case.replace('/', '-')}.npy") for case in index}
    return {case: dict(zip(index[case], files[case], strict=True)) for case in index}


def same(a: np.ndarray, b: np.ndarray, truth: np.ndarray) -> bool:
    """Report whether two outputs agree to rounding."""
    if (np.isnan(a) != np.isnan(b)).any():
        return False
    return bool(np.nanmax(abs(a.astype(float) - b)) <= SAME * np.nanmax(abs(truth)))


def test_every_mistake_is_stored_for_two_cases_and_every_variant_for_one():
    counts = dict.fromkeys(MISTAKES, 0)
    for outputs in stored().values():
        for name in outputs:
            counts[name] += 1
    odd = [name for name, count in counts.items() if count < (1 if name in VARIANTS else 2)]
    assert sorted(odd) == sorted(TOO_WIDE)


def test_what_is_stored_differs_from_the_truth_and_from_each_other():
    found = set()
    for case, outputs in stored().items():
        truth = stored_outputs.attention(named(case)).compute()[: stored_outputs.ELEMENTS].numpy()
        assert [name for name, output in outputs.items() if same(output, truth, truth)] == []
        pairs = combinations(outputs, 2)
        found |= {(a, b) for a, b in pairs if same(outputs[a], outputs[b], truth)}
    assert found == set(EQUIVALENT)


def test_a_subclass_has_no_unknown_step_and_loses_no_step():
    class Misspelt(PlainAttention):
        def soft_max(self, scores):
            return scores

    class Untouched(PlainAttention):
        pass

    right = stored_outputs.attention(named("mha/causal"))
    with pytest.raises(AttributeError, match="soft_max: want steps of PlainAttention"):
        right.using(Misspelt)
    with pytest.raises(TypeError, match="Untouched: want a subclass of SplitStrided"):
        right.using(SplitStrided).using(Untouched)


def test_fresh_cases_show_nearly_every_mistake(tmp_path):
    done = python("-m", "pyref", "plant", "--fresh", "7", str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    index = json.loads((tmp_path / "planted" / "index.json").read_text())
    shown = {name for names in index.values() for name in names}
    assert len(shown & set(MISTAKES)) >= 0.95 * len(MISTAKES)
    for case, names in index.items():
        outputs = np.load(tmp_path / "planted" / f"{case.replace('/', '-')}.npy")
        assert (outputs.dtype, len(outputs)) == (np.float32, len(names))
