"""PyTorch's results in corner cases of SDPA, and the function that computes each case."""

from dataclasses import replace

import numpy as np
import pytest

from pyref.build.pinned_torch import torch
from pyref.build.rng import Stream
from pyref.ops.operation import Arrays
from pyref.ops.sdpa import ScaledDotProductAttention, flex
from pyref.table import CASES
from pyref.tests.support import named

FUNCTIONS = [case for case in CASES if isinstance(case.operation, ScaledDotProductAttention)]
each_function = pytest.mark.parametrize("case", FUNCTIONS, ids=lambda case: case.name)


def run(name: str, precision: str = "float32") -> tuple[np.ndarray, Arrays]:
    """Return PyTorch's output of a case, and the inputs."""
    operation, (inputs, _) = named(name).operation, named(name).draw()
    return operation.forward(inputs, {}, precision)["output"], inputs


class Calls(torch.overrides.TorchFunctionMode):
    """Records the name of every called function of PyTorch, and lets the function run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        """Record one call."""
        self.names.append(getattr(function, "__name__", ""))
        return function(*args, **(kwargs or {}))


@each_function
def test_the_function_that_is_recorded_is_the_one_that_runs(case, monkeypatch):
    flexed, flex_attention = [], flex.flex_attention
    monkeypatch.setattr(
        flex, "flex_attention", lambda *rest, **named: flexed.append(1) or flex_attention(*rest, **named)
    )
    inputs, _ = case.draw()
    with Calls() as calls:
        case.operation.forward(inputs, {}, "float32")
    recorded = case.operation.function.rpartition(".")[2]
    assert calls.names.count("scaled_dot_product_attention") == (recorded == "scaled_dot_product_attention")
    assert len(flexed) == (recorded == "flex_attention")
    assert ("softmax" in calls.names) == (recorded == "with_sinks")


@pytest.mark.parametrize("name", ["sdpa/bool-mask-blank-rows", "sdpa/float-mask-blank-rows"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_query_that_sees_nothing_gives_zero(name, precision):
    output, inputs = run(name, precision)
    seen = inputs["allow"] if "allow" in inputs else inputs["bias"] > -np.inf
    fully_masked = ~seen.any(axis=-1)
    assert 0.1 < fully_masked.mean() < 0.3
    assert (output[fully_masked] == 0).all()
    assert (output[~fully_masked] != 0).all()


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-6), ("float64", 1e-14)])
def test_the_lowest_number_on_every_score_leaves_the_mean_of_the_values(precision, tolerance):
    output, inputs = run("sdpa/float-mask-lowest-blank-rows", precision)
    fully_masked = (inputs["bias"] == np.finfo(np.float32).min).all(axis=-1)
    assert fully_masked.any()
    means = np.broadcast_to(inputs["value"].mean(axis=-2, keepdims=True, dtype=np.float64), output.shape)
    np.testing.assert_allclose(output[fully_masked], means[fully_masked], atol=tolerance)


def test_one_causal_query_is_the_first_or_the_last():
    output, inputs = run("sdpa/decode-top-left")
    assert (output == inputs["value"][:, :, :1]).all()
    last, inputs = run("sdpa/decode")
    queries = (torch.from_numpy(inputs[role]) for role in ("query", "key", "value"))
    assert (last == torch.nn.functional.scaled_dot_product_attention(*queries).numpy()).all()


def test_query_heads_take_key_heads_in_groups():
    output, inputs = run("sdpa/gqa", "float64")
    tensors = {role: torch.from_numpy(array).double() for role, array in inputs.items()}
    for head, group in enumerate([0, 0, 0, 1, 1, 1]):
        alone = torch.nn.functional.scaled_dot_product_attention(
            tensors["query"][:, head], tensors["key"][:, group], tensors["value"][:, group]
        )
        np.testing.assert_allclose(output[:, head], alone.numpy(), rtol=1e-12)


def test_a_sink_takes_the_same_share_from_every_value():
    output, inputs = run("sdpa/sinks", "float64")
    q, k, v = (torch.from_numpy(inputs[role]).double() for role in ("query", "key", "value"))
    plain = torch.nn.functional.scaled_dot_product_attention(q, k, v).numpy()
    total = torch.logsumexp(q @ k.mT / 10**0.5, dim=-1, keepdim=True).numpy()
    share = 1 / (1 + np.exp(inputs["sinks"][:, None, None] - total))
    np.testing.assert_allclose(output, plain * share, rtol=1e-12)


@each_function
def test_inputs_have_values_that_only_their_precision_holds(case):
    (inputs, _), precision = case.draw(), case.operation.precision
    for role in ("query", "key", "value"):
        if precision == "float64":
            assert (inputs[role] != inputs[role].astype(np.float32)).mean() > 0.9
        else:
            assert inputs[role].dtype == {"float16": np.float16, "bfloat16": np.uint16}.get(
                precision, np.float32
            )


@pytest.mark.parametrize("name", ["sdpa/float16", "sdpa/bfloat16"])
def test_halves_are_computed_in_float32_and_rounded_at_the_end(name):
    operation, (inputs, _) = named(name).operation, named(name).draw()
    half = operation.forward(inputs, {}, operation.precision)["output"]
    single = torch.from_numpy(operation.forward(inputs, {}, "float32")["output"])
    rounded = single.to(getattr(torch, operation.precision))
    rounded = rounded.view(torch.uint16) if half.dtype == np.uint16 else rounded
    assert (half == rounded.numpy()).mean() > 0.9


@pytest.mark.parametrize("name", ["sdpa/hot", "sdpa/scale-one"])
def test_only_the_query_has_another_deviation(name):
    case = named(name)
    inputs = case.operation.draw_inputs(Stream(case.seed))
    assert abs(inputs["query"].std() / case.operation.query_std - 1) < 0.1
    assert abs(inputs["key"].std() - 1) < 0.1


@pytest.mark.parametrize("name", ["sdpa/past", "sdpa/past-unmasked"])
def test_a_past_and_new_keys_are_one_row_of_keys(name):
    output, inputs = run(name, "float64")
    operation = named(name).operation
    whole = {
        role: np.concatenate([inputs[f"past_{role}"], inputs[role]], axis=-2) for role in ("key", "value")
    }
    joined = replace(operation, past_len=0, seq_kv=operation.num_keys, alignment="lower-right")
    again = joined.forward({"query": inputs["query"], **whole}, {}, "float64")["output"]
    np.testing.assert_allclose(output, again, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ["sdpa/key-lengths", "sdpa/key-lengths-causal", "sdpa/key-lengths-decode"])
def test_keys_behind_the_length_may_as_well_not_be_there(name):
    output, inputs = run(name, "float64")
    operation = named(name).operation
    for b, length in enumerate(operation.key_lengths):
        alone = replace(operation, batch=1, seq_kv=length, key_lengths=None)
        part = {role: inputs[role][b : b + 1] for role in ("query", "key", "value")}
        part |= {role: part[role][:, :, :length] for role in ("key", "value")}
        again = alone.forward(part, {}, "float64")["output"]
        np.testing.assert_allclose(output[b : b + 1], again, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ["sdpa/softmax-in-halves", "sdpa/softmax-in-brain-floats"])
def test_the_truth_of_a_softmax_in_fewer_bits_is_not_rounded(name):
    truth, inputs = run(name, "float64")
    plain = replace(named(name).operation, softmax_precision=None)
    np.testing.assert_allclose(truth, plain.forward(inputs, {}, "float64")["output"], rtol=1e-12, atol=1e-15)
    rounded, single = (x.forward(inputs, {}, "float32")["output"] for x in (named(name).operation, plain))
    assert 1e-5 < np.abs(rounded - single).max() < 3e-2
