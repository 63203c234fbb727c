"""The paths of nn.MultiheadAttention, and their results for fully masked queries."""

import numpy as np
import pytest

from pyref.build.pinned_torch import torch
from pyref.ops.mha import MultiheadAttention
from pyref.ops.operation import Arrays
from pyref.table import CASES
from pyref.tests.support import named

LAYERS = [case for case in CASES if isinstance(case.operation, MultiheadAttention)]
each_layer = pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.name)


def run(case) -> Arrays:
    """Return PyTorch's results in float32."""
    return case.operation.forward(*case.draw(), "float32")


def spy(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> list[str]:
    """Return a list that grows with every call of a function, and let the function run."""
    calls, function = [], getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *rest, **named: calls.append(name) or function(*rest, **named))
    return calls


@each_layer
def test_the_fast_path_is_taken_where_a_case_says_so_and_sdpa_where_no_weights_are_needed(case, monkeypatch):
    layer = case.operation
    fast = spy(monkeypatch, torch, "_native_multi_head_attention")
    sdpa = spy(monkeypatch, torch.nn.functional, "scaled_dot_product_attention")
    run(case)
    assert (len(fast), len(sdpa)) == (layer.mode == "fast", layer.mode != "fast" and not layer.need_weights)


# `filler` is the number of queries before the first real key of each batch element.
@pytest.mark.parametrize(
    ("name", "filler"),
    [
        ("mha/causal-left-padding", (2, 0, 5, 3, 7)),
        ("mha/eval-left-padding", (1, 0, 6, 3, 7)),
    ],
)
def test_through_sdpa_a_query_that_sees_nothing_gives_the_output_bias(name, filler):
    _, parameters = named(name).draw()
    output, bias = run(named(name))["output"], parameters["out_proj.bias"]
    for b, length in enumerate(filler):
        assert (output[b, :length] == bias).all()
        assert (output[b, length:] != bias).all()


@pytest.mark.parametrize(
    ("name", "filler"),
    [("mha/fast-left-padding", (3, 0, 4, 2, 6)), ("mha/weights-left-padding", (4, 0, 6, 2, 5))],
)
def test_elsewhere_it_gives_nan(name, filler):
    for array in run(named(name)).values():
        for b, length in enumerate(filler):
            assert np.isnan(array[b, :length]).all()
            assert np.isfinite(array[b, length:]).all()


@each_layer
def test_weights_sum_to_one_over_all_keys(case):
    computed, layer = run(case), case.operation
    if not layer.need_weights:
        assert list(computed) == ["output"]
        return
    heads = () if layer.need_weights == "averaged" else (layer.num_heads,)
    batch = () if layer.batch is None else (layer.batch,)
    assert computed["weights"].shape == (*batch, *heads, layer.seq_q, layer.num_keys + layer.extra_keys)
    sums = computed["weights"].sum(axis=-1)
    np.testing.assert_allclose(sums[np.isfinite(sums)], 1, rtol=1e-6)


def test_the_learned_key_and_value_are_as_large_as_projected_ones():
    case = named("mha/bias-kv-zero-attn-left-padding")
    D, (inputs, parameters) = case.operation.embed_dim, case.draw()
    weights = np.split(parameters["in_proj_weight"], 3)
    projected = [np.std(inputs["key"] @ weight.T) for weight in weights]
    np.testing.assert_allclose(projected, [1, 1, 3**-0.5], rtol=0.1)
    for name, size in (("bias_k", 1), ("bias_v", 3**-0.5)):
        assert parameters[name].shape == (1, 1, D)
        assert abs(np.std(parameters[name]) / size - 1) < 3 / np.sqrt(2 * D)
