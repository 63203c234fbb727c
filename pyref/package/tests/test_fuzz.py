"""Functions are wrong for some shapes, and the error says for which."""

import functools
import time

import numpy as np
import pytest

import difftest


def attention(query, key, value, *, config):
    """Return attention without masks."""
    if config["causality"] != "none":
        raise NotImplementedError("causal")
    scale = np.float32(config["scale"])
    scores = query @ key.swapaxes(-1, -2) * scale
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ value


def without_tail(query, key, value, *, config):
    """Return attention that drops the tail of 8 keys."""
    keys = max(8, key.shape[-2] // 8 * 8) if key.shape[-2] >= 8 else 0
    return attention(query, key[..., :keys, :], value[..., :keys, :], config=config) if keys else 0 * query


def with_a_crash(query, key, value, *, config):
    """Return attention that has no kernel for wide heads."""
    if query.shape[-1] > 16:
        raise RuntimeError("no kernel for this width")
    return attention(query, key, value, config=config)


def with_a_hang(query, key, value, *, config):
    """Return attention that hangs for long caches."""
    if key.shape[-2] > 30:
        time.sleep(60)
    return attention(query, key, value, config=config)


class Kernels:
    """Functions in a class."""

    @staticmethod
    def right(query, key, value, *, config):
        """Return attention."""
        return attention(query, key, value, config=config)


def head(config, state_dict, input_ids, attention_mask):
    """Refuse every model."""
    raise NotImplementedError("no model")


PLAIN = {"features": (), "count": 60}


@pytest.mark.parametrize("function", [attention, Kernels.right])
def test_a_right_function_passes(function):
    difftest.fuzz(sdpa=function, **PLAIN)


def test_the_error_has_the_smallest_case_and_the_condition(tmp_path):
    with pytest.raises(AssertionError) as raised:
        difftest.fuzz(sdpa=without_tail, corpus=tmp_path, **PLAIN)
    text = str(raised.value)
    assert text.startswith("difftest.fuzz, seed 1: 60 draws, ")
    assert "if and only if keys mod 8 != 0" in text
    assert "batch 1, heads 1, head-dim 1, queries 1, keys 1" in text
    assert f"--fixtures {tmp_path} -- CMD" in text
    name = difftest.cases("fuzz/**", suite=tmp_path)[0].name
    assert f"FAIL {name}  wrong output" in text
    with pytest.raises(AssertionError, match="the first 1 of them failed before"):
        difftest.fuzz(sdpa=without_tail, corpus=tmp_path, features=(), count=1)


def test_the_error_has_no_command_for_cases_that_are_gone():
    with pytest.raises(AssertionError) as raised:
        difftest.fuzz(sdpa=with_a_crash, **PLAIN)
    assert "rerun" not in str(raised.value)
    assert "no kernel for this width" in str(raised.value)
    assert "if and only if head-dim >= 17" in str(raised.value)


def test_a_hang_is_a_failure_of_its_shape():
    with pytest.raises(AssertionError, match="has not answered for 200ms"):
        difftest.fuzz(sdpa=with_a_hang, timeout=0.2, **PLAIN)


def test_functions_that_no_program_finds_are_refused():
    def inner(query, key, value, *, config):
        return attention(query, key, value, config=config)

    for wrong in (inner, lambda query: query, functools.partial(attention)):
        with pytest.raises(ValueError, match="does not stand at the top"):
            difftest.fuzz(sdpa=wrong)
    for arguments in ({}, {"module": head}, {"sdpa": attention, "case": "models/gpt2"}):
        with pytest.raises(ValueError, match="want sdpa or mha, or module and case"):
            difftest.fuzz(**arguments)


def test_a_model_that_is_refused_everywhere_is_an_error():
    with pytest.raises(difftest.DifftestError, match="every draw was skipped"):
        difftest.fuzz(module=head, case=difftest.case("models/gpt2"), count=3)
    with pytest.raises(difftest.DifftestError, match="--vary batch,tokens"):
        difftest.fuzz(module=head, case="models/vit")
