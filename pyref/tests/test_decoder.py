"""Decoder layers agree with identities, with limits, and with other implementations' formulas."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from pyref.build.pinned_torch import torch
from pyref.build.rng import Stream
from pyref.ops import kernels
from pyref.ops.alibi import slopes
from pyref.ops.decoder import DecoderAttention
from pyref.ops.layouts import LAYOUTS
from pyref.ops.operation import Arrays
from pyref.ops.padding import left
from pyref.ops.rope import Rope
from pyref.ops.tensors import to_torch
from pyref.table import CASES
from pyref.tests.support import named

LAYERS = [case for case in CASES if isinstance(case.operation, DecoderAttention)]
each_layer = pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.name)

# Whether query i of batch element b sees key j; the first cached key is 0. Other cases are causal.
SEES = {
    "decoder/rope-half-left-padding": lambda b, i, j: (2, 0, 5, 7)[b] <= j <= i,
    "decoder/cache": lambda b, i, j: j <= 6 + i,
    "decoder/cache-chunk": lambda b, i, j: j <= 6 + i,
    "decoder/cache-left-padding": lambda b, i, j: (3, 0, 5, 8)[b] <= j <= 6 + i,
    "decoder/decode": lambda b, i, j: True,
    "decoder/window": lambda b, i, j: i - 3 <= j <= i,
    "decoder/window-cache": lambda b, i, j: i + 3 <= j <= i + 6,
    "decoder/gemma": lambda b, i, j: max((3, 0, 5, 7)[b], i + 2) <= j <= i + 5,
    "decoder/sinks-window": lambda b, i, j: i - 3 <= j <= i,
    "decoder/alibi-left-padding": lambda b, i, j: (4, 0, 1, 6)[b] <= j <= i,
    "decoder/alibi-cache": lambda b, i, j: j <= 6 + i,
    "decoder/alibi-decode": lambda b, i, j: True,
    "decoder/relative-bias": lambda b, i, j: True,
    "decoder/softcap-relative-bias": lambda b, i, j: j <= 6 + i,
    "decoder/relative-bias-cache": lambda b, i, j: j <= 6 + i,
    "decoder/relative-bias-decode": lambda b, i, j: True,
    "decoder/relative-bias-cross": lambda b, i, j: True,
}


def layer(**options: object) -> DecoderAttention:
    """Return a small layer."""
    shape = {"batch": 3, "seq_q": 9, "embed_dim": 44, "num_heads": 6, "num_kv_heads": 2, "head_dim": 10}
    return DecoderAttention(**(shape | options))


def drawn(operation: DecoderAttention) -> tuple[Arrays, Arrays]:
    """Return inputs and parameters for a layer."""
    return operation.draw_inputs(Stream(1)), operation.draw_parameters(Stream(1))


def output(operation: DecoderAttention, inputs: Arrays, parameters: Arrays) -> np.ndarray:
    """Return the layer's output in float64."""
    return operation.forward(inputs, parameters, "float64")["output"]


def projected(operation: DecoderAttention, inputs: Arrays, parameters: Arrays) -> tuple[torch.Tensor, ...]:
    """Return queries, keys and values of the new tokens in float64."""
    state = to_torch(parameters, "float64")
    projections = LAYOUTS[operation.param_layout].split(operation.widths, state)
    return operation.project(to_torch(inputs, "float64"), state, projections)


def close(got: np.ndarray, want: np.ndarray, tolerance: float = 1e-13) -> bool:
    """Report whether the largest difference is within a tolerance of the largest element."""
    return bool(np.abs(got - want).max() <= tolerance * np.abs(want).max())


# case.json

PLAIN = {
    "embed_dim": 40,
    "num_heads": 4,
    "kdim": 40,
    "vdim": 40,
    "bias": False,
    "keys": "llama",
    "causality": "top-left",
    "empty_row": "zero",
}


def test_a_plain_layer_says_nothing_beyond_what_every_layer_says():
    assert layer(embed_dim=40, num_heads=4, num_kv_heads=4).config == PLAIN


def test_a_layer_says_all_that_it_has():
    operation = layer(
        seq_q=5,
        seq_kv=9,
        kdim=28,
        bias=True,
        output_bias=False,
        causal=False,
        scale=0.5,
        rope=Rope(dim=6, base=100, factor=2),
        qk_norm=1e-6,
        window=4,
        softcap=2.0,
        alibi=True,
        sinks=True,
        relative_bias=4,
    )
    assert operation.config == PLAIN | {
        "embed_dim": 44,
        "num_heads": 6,
        "kdim": 28,
        "vdim": 28,
        "bias": True,
        "causality": "none",
        "output_bias": False,
        "num_kv_heads": 2,
        "head_dim": 10,
        "scale": 0.5,
        "rope": {"style": "half", "dim": 6, "base": 100, "factor": 2},
        "qk_norm": {"eps": 1e-6},
        "window": 4,
        "softcap": 2.0,
        "alibi": True,
        "sinks": True,
        "relative_bias": 4,
    }


@each_layer
def test_the_state_dict_has_the_biases_that_the_configuration_says(case):
    config, names = case.operation.config, case.operation.draw_parameters(Stream(1)).keys()
    output_bias = any(name.endswith(("o_proj.bias", "c_proj.bias", "dense.bias")) for name in names)
    assert output_bias == config.get("output_bias", config["bias"])
    assert len([name for name in names if name.endswith(".bias")]) - output_bias == (
        config["bias"] and (3 if config["keys"] == "llama" else 1)
    )


# Masks


@each_layer
def test_the_rows_that_see_a_key_are_the_ones_that_change_with_it(case):
    operation, (inputs, parameters) = case.operation, drawn(case.operation)
    sees = SEES.get(case.name, lambda b, i, j: j <= i)
    apart = {role: array.copy() for role, array in inputs.items()}
    before = output(operation, apart, parameters)
    for j in range(operation.num_keys):
        rows = (output(operation, changed(operation, apart, j), parameters) != before).any(axis=-1)
        assert rows.tolist() == [
            [sees(b, i, j) for i in range(operation.seq_q)] for b in range(operation.batch)
        ], j


def changed(operation: DecoderAttention, inputs: Arrays, j: int) -> Arrays:
    """Return inputs with another key j and value j, in the cache or among the new tokens."""
    roles, place = (
        (("past_key", "past_value"), j)
        if j < operation.past_len
        else (("key", "value"), j - operation.past_len)
    )
    copies = {role: inputs[role].copy() for role in roles}
    for copy in copies.values():
        copy[..., place, :] += 1
    return {**inputs, **copies}


@pytest.mark.parametrize(
    "name", ["rope-half-left-padding", "cache-left-padding", "gemma", "alibi-left-padding"]
)
def test_a_query_that_sees_nothing_gives_zero(name):
    operation = named(f"decoder/{name}").operation
    rows = output(operation, *drawn(operation))
    sees = SEES[f"decoder/{name}"]
    fully_masked = [
        [not any(sees(b, i, j) for j in range(operation.num_keys)) for i in range(operation.seq_q)]
        for b in range(operation.batch)
    ]
    assert np.any(fully_masked) and ((rows == 0).all(axis=-1) == fully_masked).all()


def test_sinks_and_softcap_too_give_the_output_bias_where_a_query_sees_nothing():
    for field in ({"sinks": True}, {"softcap": 2.0}, {}):
        operation = layer(
            batch=2,
            seq_q=3,
            embed_dim=12,
            num_heads=2,
            num_kv_heads=1,
            head_dim=6,
            bias=True,
            padding=left(2, 1),
            **field,
        )
        inputs, parameters = drawn(operation)
        rows = output(operation, inputs, parameters)
        assert (rows[0, 0] == parameters["o_proj.bias"]).all() and (
            rows[1, :2] == parameters["o_proj.bias"]
        ).all()
        assert (rows[0, 1:] != parameters["o_proj.bias"]).all()


# One layer in two forms


def test_metas_weights_and_hugging_faces_are_one_layer():
    meta, converted = named("decoder/rope-meta"), named("decoder/rope-converted")
    (inputs, weights), (same, reordered) = drawn(meta.operation), drawn(converted.operation)
    assert all((inputs[role] == same[role]).all() for role in inputs)
    assert {name for name in weights if (weights[name] != reordered[name]).any()} == {
        "q_proj.weight",
        "k_proj.weight",
    }
    want = output(meta.operation, inputs, weights)
    assert close(output(converted.operation, inputs, reordered), want)
    assert not close(output(converted.operation, inputs, weights), want, 0.1)


def test_the_twins_on_disk_share_their_inputs_and_their_output(made):
    folders = [made / "decoder" / name for name in ("rope-meta", "rope-converted")]
    assert len({(folder / "inputs/query.npy").read_bytes() for folder in folders}) == 1
    truths = [np.load(folder / "expected/truth.npy") for folder in folders]
    assert close(truths[1], truths[0])


# Cache


@pytest.mark.parametrize(
    "field",
    [
        {"rope": Rope(dim=6, base=100)},
        {"rope": Rope(style="interleaved", dim=10), "qk_norm": 1e-6, "softcap": 2.0},
        {"alibi": True},
        {"relative_bias": 4},
        {"window": 4},
        {"sinks": True, "window": 4, "rope": Rope(dim=10)},
        {"padding": left(7, 10, 4), "rope": Rope(dim=10)},
    ],
    ids=lambda field: "-".join(field),
)
@pytest.mark.parametrize("P", [6, 9])
def test_a_chunk_after_a_cache_is_the_end_of_the_full_sequence(field, P):
    full = layer(seq_q=10, **field)
    inputs, parameters = drawn(full)
    _, k, v = projected(full, inputs, parameters)
    x = inputs["query"][:, P:]
    chunk = {role: array for role, array in inputs.items() if role == "padding"}
    chunk |= {
        "query": x,
        "key": x,
        "value": x,
        "past_key": k[:, :, :P].numpy(),
        "past_value": v[:, :, :P].numpy(),
    }
    got = output(replace(full, seq_q=10 - P, past_len=P), chunk, parameters)
    assert close(got, output(full, inputs, parameters)[:, P:])


# Limits in which a feature has no effect


@pytest.mark.parametrize(
    "field",
    [{"window": 9}, {"softcap": 1e9}, {"scale": 10**-0.5}],
    ids=lambda field: next(iter(field)),
)
def test_a_feature_at_its_limit_is_none(field):
    plain = layer(num_kv_heads=6, rope=Rope(dim=10))
    inputs, parameters = drawn(plain)
    assert close(output(replace(plain, **field), inputs, parameters), output(plain, inputs, parameters))


@pytest.mark.parametrize("field", [{"window": 8}, {"softcap": 20.0}, {"scale": 0.32}])
def test_a_feature_short_of_its_limit_is_not_none(field):
    plain = layer(num_kv_heads=6, rope=Rope(dim=10))
    inputs, parameters = drawn(plain)
    assert not close(
        output(replace(plain, **field), inputs, parameters), output(plain, inputs, parameters), 1e-6
    )


@pytest.mark.parametrize("window", [None, 4])
def test_sinks_of_minus_infinity_are_none(window):
    operation = layer(sinks=True, window=window)
    inputs, parameters = drawn(operation)
    none = {**parameters, "sinks": np.full(6, -np.inf)}
    want = output(replace(operation, sinks=False), inputs, parameters)
    assert close(output(operation, inputs, none), want)
    assert not close(output(operation, inputs, parameters), want, 0.01)


def test_a_sink_takes_its_share():
    """Five keys of score zero weigh 1 / (5 + e^sink) each."""
    q, sinks = torch.zeros(1, 2, 1, 4, dtype=torch.float64), torch.tensor([0.0, 1.0], dtype=torch.float64)
    ones = torch.ones(1, 1, 5, 4, dtype=torch.float64)
    context = kernels.with_sinks(q, ones, ones, None, 0.5, sinks)
    assert np.allclose(context[0, :, 0, 0].numpy(), [5 / 6, 5 / (5 + np.e)], rtol=1e-15)


# Heads


def test_a_plain_layer_is_nn_multihead_attention():
    operation = layer(embed_dim=40, num_heads=4, num_kv_heads=4, bias=True)
    inputs, parameters = drawn(operation)
    tensors, state = to_torch(inputs, "float64"), to_torch(parameters, "float64")
    mha = torch.nn.MultiheadAttention(40, 4, batch_first=True)
    names = ("q_proj", "k_proj", "v_proj")
    stacked = {
        f"in_proj_{kind}": torch.cat([state[f"{n}.{kind}"] for n in names]) for kind in ("weight", "bias")
    }
    stacked |= {f"out_proj.{kind}": state[f"o_proj.{kind}"] for kind in ("weight", "bias")}
    mha.load_state_dict(stacked, assign=True)
    block = torch.ones(9, 9, dtype=torch.bool).triu(diagonal=1)
    x = tensors["query"]
    with torch.no_grad():
        want, _ = mha(x, x, x, attn_mask=block, need_weights=False)
    assert close(output(operation, inputs, parameters), want.numpy())


@pytest.mark.parametrize("field", [{}, {"softcap": 2.0}, {"sinks": True}], ids=["sdpa", "flex", "sinks"])
@pytest.mark.parametrize("Hk", [1, 2])
def test_grouped_heads_are_repeated_ones(Hk, field):
    grouped = layer(num_kv_heads=Hk, **field)
    inputs, parameters = drawn(grouped)
    repeated = {
        name: array.reshape(Hk, 10, -1).repeat(6 // Hk, axis=0).reshape(60, -1)
        for name, array in parameters.items()
        if name in ("k_proj.weight", "v_proj.weight")
    }
    want = output(replace(grouped, num_kv_heads=6), inputs, {**parameters, **repeated})
    assert close(output(grouped, inputs, parameters), want)


def test_a_norm_makes_the_size_of_queries_and_keys_irrelevant():
    normed = layer(qk_norm=1e-6)
    inputs, parameters = drawn(normed)
    larger = {**parameters, "q_proj.weight": 3 * parameters["q_proj.weight"]}
    assert close(output(normed, inputs, larger), output(normed, inputs, parameters), 1e-5)
    plain = replace(normed, qk_norm=None)
    assert not close(output(plain, inputs, larger), output(plain, inputs, parameters), 0.1)


# Biases by distance


@pytest.mark.parametrize(
    ("H", "exponents"),
    [
        (4, [2, 4, 6, 8]),
        (6, [2, 4, 6, 8, 1, 3]),
        (8, [1, 2, 3, 4, 5, 6, 7, 8]),
        (12, [1, 2, 3, 4, 5, 6, 7, 8, 0.5, 1.5, 2.5, 3.5]),
        (16, [0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6, 6.5, 7, 7.5, 8]),
    ],
)
def test_slopes_are_the_papers(H, exponents):
    assert slopes(H) == [2**-exponent for exponent in exponents]


def test_alibi_on_distances_is_blooms_bias_on_key_positions():
    """The two biases differ by a constant per row, which softmax cancels."""
    operation = layer(num_kv_heads=6, alibi=True)
    inputs, parameters = drawn(operation)
    q, k, v = projected(operation, inputs, parameters)
    bias = torch.tensor(slopes(6), dtype=torch.float64)[:, None, None] * torch.arange(9)
    bias = bias.masked_fill(torch.ones(9, 9, dtype=torch.bool).triu(diagonal=1), -torch.inf)
    context = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    want = context.transpose(1, 2).flatten(-2).numpy() @ parameters["o_proj.weight"].T.astype(np.float64)
    assert close(output(operation, inputs, parameters), want)


@pytest.mark.parametrize("P", [0, 4])
def test_a_relative_bias_that_falls_with_distance_is_alibi(P):
    alibi = layer(seq_q=5, past_len=P, causal=False, alibi=True)
    inputs, parameters = drawn(alibi)
    table = -np.abs(np.arange(-9, 10))[:, None] * np.array(slopes(6))
    got = output(
        replace(alibi, alibi=False, relative_bias=9), inputs, {**parameters, "relative_bias.weight": table}
    )
    assert close(got, output(alibi, inputs, parameters))


def test_a_relative_bias_is_the_same_beyond_its_farthest_and_has_a_direction():
    operation = layer(
        batch=1, seq_q=4, embed_dim=12, num_heads=1, num_kv_heads=1, head_dim=6, causal=False, relative_bias=2
    )
    state = {"relative_bias.weight": torch.tensor([[1.0], [2.0], [3.0], [4.0], [5.0]])}
    modify = operation.score_mod(state, torch.float32)
    index = torch.arange(4)
    added = modify(torch.zeros(4, 4), 0, 0, index[:, None], index[None, :])
    assert added.tolist() == [[3, 4, 5, 5], [2, 3, 4, 5], [1, 2, 3, 4], [1, 1, 2, 3]]


# Numbers that tell mistakes apart


@each_layer
def test_factors_that_may_stand_for_one_another_are_apart(case):
    layer = case.operation
    factors = sorted(
        [layer.head_dim**-0.5, layer.embed_dim**-0.5, 1 / layer.head_dim, layer.num_heads**-0.5, 1 / 8]
    )
    assert all(b / a >= 1.1 for a, b in pairwise(factors)), factors


@each_layer
def test_shapes_let_mistakes_show(case):
    layer = case.operation
    assert layer.batch >= 3
    assert layer.num_keys % 8 not in (0, 6, 7)
    assert layer.rope is None or 6 <= layer.rope.dim <= layer.head_dim
    assert layer.window is None or layer.window < layer.num_keys
    if layer.padding:
        assert layer.padding.valid[0] < layer.num_keys
        assert len(set(layer.padding.valid)) == layer.batch


@pytest.mark.parametrize(
    "case", [case for case in LAYERS if case.operation.past_len], ids=lambda case: case.name
)
def test_a_cache_is_as_large_as_what_the_layer_projects(case):
    layer, (inputs, parameters) = case.operation, drawn(case.operation)
    _, k, v = projected(layer, inputs, parameters)
    assert 0.75 < inputs["past_key"].std() / k.std() < 1.33
    assert 0.75 < inputs["past_value"].std() / v.std() < 1.33
