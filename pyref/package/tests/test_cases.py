"""Cases hold inputs, parameters and the configuration, and nothing of the answer."""

import numpy as np
import pytest
from test_check import MODELS

import difftest


def test_cases_are_selected_as_by_the_command():
    names = [case.name for case in difftest.cases("seed/*", "mha/causal", skip="unmasked")]
    assert names == ["mha/causal", "seed/causal"]
    assert {case.name.split("/")[0] for case in difftest.cases("mha/**")} == {"mha"}
    assert len(difftest.cases()) > 150
    assert difftest.cases("sdpa/**", skip=["alibi", "window"])
    with pytest.raises(difftest.DifftestError, match=r'"sdpaa/\*\*" selects no case'):
        difftest.cases("sdpaa/**")
    with pytest.raises(ValueError, match='want "numpy" or "torch"'):
        difftest.cases("seed/*", arrays="jax")


def test_a_case_says_what_to_compute():
    case = difftest.case("mha/weights")
    assert (str(case), case.op, case.precision, case.needs_weights) == (
        "mha/weights",
        "multi_head_attention",
        "float32",
        True,
    )
    assert case.shape == (5, 7, 40)
    assert case.config["embed_dim"] == 40
    assert set(case.state_dict) >= {"in_proj_weight", "out_proj.weight"}
    with pytest.raises(TypeError):
        case.config["embed_dim"] = 1


def test_arrays_are_fresh_and_shared_only_within_one_reading():
    case = difftest.case("seed/causal")
    inputs = case.inputs
    assert inputs["query"] is inputs["key"]
    inputs["query"][:] = 0
    assert case.inputs["query"].any()
    assert difftest.case("mha/cross").inputs.keys() >= {"query", "key", "value"}


def test_bits_of_bfloat16_are_numbers():
    query = difftest.case("sdpa/bfloat16").inputs["query"]
    assert query.dtype == np.float32
    assert (query.view(np.uint32) & 0xFFFF == 0).all()
    assert 0.1 < query.std() < 10


def test_a_case_of_a_suite_belongs_to_it():
    case = difftest.case("llama", suite=MODELS / "models")
    assert case.op == "module"
    assert case.inputs
    assert not difftest.check(case, np.load(MODELS / "llama.npy")[5]).passed
