"""The table as a whole: names, seeds, and numbers that make mistakes visible."""

import hashlib
import re

import numpy as np
import pytest

from pyref import crosscheck
from pyref.crosscheck.decoder import prepare
from pyref.ops.decoder import DecoderAttention
from pyref.table import CASES
from pyref.tests.support import FIXTURES, contents, each_attention, each_case, named, record

# The relative rms of an output: more than in a copy of the truth, less than with any mistake.
NEAR = {
    "float16": (1e-5, 1e-3),
    "bfloat16": (1e-4, 8e-3),
    "float32": (1e-9, 5e-6),
    "float64": (1e-9, 5e-6),
}
COMPUTED = ("/padding.npy", "/cos.npy", "/sin.npy")  # inputs that no random number decides
MANY = 100  # with fewer scores a standard deviation is too uncertain


def test_names_are_a_group_and_a_case_and_unique():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    assert [name for name in names if not re.fullmatch(r"[a-z]+/[a-z]+[0-9]*(-[a-z]+)*", name)] == []


def test_purposes_are_one_plain_sentence_each():
    purposes = [case.purpose for case in CASES]
    assert len(set(purposes)) == len(purposes)
    assert [purpose for purpose in purposes if not re.fullmatch(r"[ -~]+\.", purpose)] == []


def test_seeds_differ_but_for_twins():
    seeds = [case.seed for case in CASES if not case.twin]
    assert len(set(seeds)) == len(seeds)
    assert [case.name for case in CASES if case.twin and case.seed != named(case.twin).seed] == []


def test_no_two_files_of_the_suite_hold_the_same_tensor_but_for_twins(made):
    # Models and blocks share tables, masks and inputs.
    twins = ("models/", "blocks/", *(f"{case.name}/" for case in CASES if case.twin))
    digests = [
        hashlib.sha256(data).digest()
        for file, data in contents(made).items()
        if file.endswith(".npy") and not file.startswith(twins) and not file.endswith(COMPUTED)
    ]
    assert len(set(digests)) == len(digests)


@each_case
def test_nothing_is_all_zero_or_constant(case, made):
    for path in (made / case.name).rglob("*.npy"):
        array = np.load(path)
        assert array.min() != array.max(), path


@each_case
def test_what_is_expected_is_near_its_truth_and_nan_only_where_a_case_says_so(case, made):
    fields = record(made, case.name)
    arrays = crosscheck.read(made / case.name, fields["expected"])
    rough = getattr(case.operation, "softmax_precision", None) in ("float16", "bfloat16")
    least, most = NEAR[case.operation.softmax_precision if rough else case.operation.precision]
    for name, truth in crosscheck.TRUTHS.items():
        if name not in arrays:
            continue
        numbers = np.isfinite(arrays[truth])
        assert (np.isfinite(arrays[name]) == numbers).all()
        assert numbers.all() or fields["config"]["empty_row"] == "nan"
        error = (arrays[name] - arrays[truth])[numbers]
        rel = np.sqrt(np.mean(error**2) / np.mean(arrays[truth][numbers] ** 2))
        assert least < rel < most or (copies_a_value(case, made) and rel == 0), rel


def copies_a_value(case, made):
    """Report whether every query of a function sees a single key, so that nothing is rounded."""
    return (
        case.operation.name == "scaled_dot_product_attention" and (scores(case, made)[1].sum(-1) == 1).all()
    )


def scores(case, made):
    """Return a case's scaled scores (B, H, L, S), and bool (B, H, L, S), true for visible keys."""
    fields = record(made, case.name)
    inputs = crosscheck.read(made / case.name, fields["inputs"])
    parameters = crosscheck.read(made / case.name, fields.get("state_dict", {}))
    parameters = crosscheck.without_prefix(fields["config"], parameters)
    if isinstance(case.operation, DecoderAttention):
        q, k, _ = prepare(fields["config"], inputs, parameters)
        scale = fields["config"].get("scale", 1 / np.sqrt(q.shape[-1]))
        return np.einsum("bihe,bjhe->bhij", q, k.repeat(q.shape[2] // k.shape[2], axis=2)) * scale, None
    if parameters:
        found = crosscheck.mha.layer(fields["config"], inputs, parameters)
    else:
        found = crosscheck.attention.function(fields["config"], inputs)
    return found.q @ found.k.swapaxes(-1, -2) * found.scale, found.sees


def has_large_scores(case):
    """Report whether a case is meant to have scores far above 1."""
    return bool(getattr(case.operation, "weight_std", None)) or getattr(case.operation, "query_std", 1) > 1


@each_attention
def test_scores_are_of_standard_deviation_near_one(case, made):
    values = scores(case, made)[0]
    print(f"{case.name}: score std {values.std():.2f}")
    assert (0.5 < values.std() < 2) == (not has_large_scores(case)) or values.size < MANY, values.std()


@pytest.mark.parametrize("name", ["sdpa/hot", "mha/hot"])
def test_a_hot_case_has_visible_scores_that_overflow_exp(name, made):
    assert has_large_scores(named(name))
    values, seen = scores(named(name), made)
    with np.errstate(over="ignore"):
        assert np.isinf(np.exp(values[seen].astype(np.float32))).any()


def test_one_case_has_the_rows_for_least_squares_and_the_width_to_recover_probabilities():
    layer = named("mha/unmasked").operation
    assert layer.batch * layer.seq_q > layer.num_heads * (layer.embed_dim + 1) + 1
    assert layer.embed_dim / layer.num_heads > layer.seq_q


def test_attention_cases_and_models_are_each_below_12_mib():
    models, attention = 0, 0
    for name, data in contents(FIXTURES).items():
        if name.startswith(("models/", "blocks/")):
            models += len(data)
        else:
            attention += len(data)
    assert 0 < models < 12 * 2**20
    assert 0 < attention < 12 * 2**20
