"""Every layout stores the same layer. The tests pack separate weights as models store them."""

import numpy as np
import pytest

from pyref.build.pinned_torch import torch
from pyref.build.rng import Stream
from pyref.ops.decoder import DecoderAttention
from pyref.ops.layouts import LAYOUTS
from pyref.ops.operation import Arrays
from pyref.ops.prefix import Prefixed
from pyref.table import CASES
from pyref.tests.support import named, record

# Names and shapes written by hand: embed_dim 40, head_dim 10, 4 heads, or 6 and 2 heads.
SHAPES = {
    "layouts/llama": {
        "q_proj.weight": [60, 40],
        "k_proj.weight": [20, 40],
        "v_proj.weight": [20, 40],
        "o_proj.weight": [40, 60],
    },
    "layouts/llama-biases": {
        "q_proj.weight": [40, 40],
        "q_proj.bias": [40],
        "k_proj.weight": [40, 40],
        "k_proj.bias": [40],
        "v_proj.weight": [40, 40],
        "v_proj.bias": [40],
        "o_proj.weight": [40, 40],
        "o_proj.bias": [40],
    },
    "layouts/gpt": {
        "c_attn.weight": [40, 120],
        "c_attn.bias": [120],
        "c_proj.weight": [40, 40],
        "c_proj.bias": [40],
    },
    "layouts/neox": {
        "query_key_value.weight": [120, 40],
        "query_key_value.bias": [120],
        "dense.weight": [40, 40],
        "dense.bias": [40],
    },
    "layouts/neox-grouped": {"query_key_value.weight": [100, 40], "dense.weight": [40, 60]},
    "layouts/fused-grouped": {"qkv_proj.weight": [100, 40], "o_proj.weight": [40, 60]},
    "layouts/llama-in-model": {
        "model.layers.0.self_attn.q_proj.weight": [60, 40],
        "model.layers.0.self_attn.k_proj.weight": [20, 40],
        "model.layers.0.self_attn.v_proj.weight": [20, 40],
        "model.layers.0.self_attn.o_proj.weight": [40, 60],
    },
    "layouts/fused-compiled": {
        "_orig_mod.qkv_proj.weight": [120, 40],
        "_orig_mod.qkv_proj.bias": [120],
        "_orig_mod.o_proj.weight": [40, 40],
        "_orig_mod.o_proj.bias": [40],
    },
    "layouts/torch-parallel": {
        "module.in_proj_weight": [120, 40],
        "module.in_proj_bias": [120],
        "module.out_proj.weight": [40, 40],
        "module.out_proj.bias": [40],
    },
    "layouts/seed-parallel": {f"module.W_{role}": [40, 40] for role in "QKVO"},
}


@pytest.mark.parametrize("name", SHAPES)
def test_names_and_shapes_are_those_of_the_models(name, made):
    fields = record(made, name)
    shapes = {key: fields["files"][file]["shape"] for key, file in fields["state_dict"].items()}
    assert list(shapes.items()) == list(SHAPES[name].items())


def test_the_names_of_every_case_are_checked():
    assert set(SHAPES) == {case.name for case in CASES if case.group == "layouts"}


# The same layer


def layer(**options: object) -> DecoderAttention:
    """Return a small layer."""
    shape = {"batch": 3, "seq_q": 9, "embed_dim": 40, "num_heads": 4, "num_kv_heads": 4, "head_dim": 10}
    return DecoderAttention(**(shape | options))


def packed(layout: str, plain: Arrays, Hk: int) -> Arrays:
    """Return the state dict in another layout of a layer with the llama state dict `plain`."""
    kinds = [kind for kind in ("weight", "bias") if f"q_proj.{kind}" in plain]
    q, k, v, o = ({kind: plain[f"{role}_proj.{kind}"] for kind in kinds} for role in "qkvo")
    match layout:
        case "llama":
            return plain
        case "gpt2":
            together = {f"c_attn.{kind}": np.concatenate([q[kind], k[kind], v[kind]]).T for kind in kinds}
            return together | {f"c_proj.{kind}": o[kind].T for kind in kinds}
        case "fused":
            together = {f"qkv_proj.{kind}": np.concatenate([q[kind], k[kind], v[kind]]) for kind in kinds}
            return together | {f"o_proj.{kind}": o[kind] for kind in kinds}
        case "neox":
            together = {f"query_key_value.{kind}": grouped(q[kind], k[kind], v[kind], Hk) for kind in kinds}
            return together | {f"dense.{kind}": o[kind] for kind in kinds}


def grouped(q: np.ndarray, k: np.ndarray, v: np.ndarray, Hk: int) -> np.ndarray:
    """Return the rows by key/value head: its queries, its key, its value."""
    groups = zip(*(np.split(rows, Hk) for rows in (q, k, v)), strict=True)
    return np.concatenate([np.concatenate(group) for group in groups])


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("layout", "Hk"), [("gpt2", 4), ("fused", 4), ("fused", 2), ("neox", 4), ("neox", 2), ("neox", 1)]
)
def test_a_layout_is_the_same_layer_under_other_names(layout, Hk, bias):
    plain = layer(num_kv_heads=Hk, bias=bias)
    other = layer(num_kv_heads=Hk, bias=bias, param_layout=layout)
    inputs, parameters = plain.draw_inputs(Stream(1)), plain.draw_parameters(Stream(1))
    state = packed(layout, parameters, Hk)
    assert {name: array.shape for name, array in state.items()} == {
        name: array.shape for name, array in other.draw_parameters(Stream(1)).items()
    }
    want = plain.forward(inputs, parameters, "float64")["output"]
    assert np.abs(other.forward(inputs, state, "float64")["output"] - want).max() < 1e-14


def test_transposed_weights_are_used_as_in_conv_one_d():
    """Hugging Face's Conv1D is addmm(bias, x, weight)."""
    operation = named("layouts/gpt").operation
    state = {name: torch.from_numpy(array) for name, array in operation.draw_parameters(Stream(1)).items()}
    x = torch.from_numpy(operation.draw_inputs(Stream(1))["query"]).flatten(0, 1)
    together = torch.addmm(state["c_attn.bias"], x, state["c_attn.weight"]).split(40, dim=-1)
    projections = LAYOUTS["gpt2"].split(operation.widths, state)
    for role, want in zip(("query", "key", "value"), together, strict=True):
        torch.testing.assert_close(projections[role](x), want, rtol=0, atol=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_are_as_large_as_their_role_asks(layout):
    operation = layer(embed_dim=200, num_heads=20, num_kv_heads=20, bias=True, param_layout=layout)
    parameters = operation.draw_parameters(Stream(1))
    state = {name: torch.from_numpy(array) for name, array in parameters.items()}
    projections = LAYOUTS[layout].split(operation.widths, state)
    want = {"query": 200**-0.5, "key": 200**-0.5, "value": 600**-0.5, "output": 600**-0.5}
    for role, std in want.items():
        assert abs(projections[role].weight.std() / std - 1) < 0.03, role
        assert abs(projections[role].bias.std() / 0.1 - 1) < 0.2, role


def test_queries_make_up_for_a_scale_of_one():
    operation = layer(embed_dim=200, num_heads=20, num_kv_heads=20, scale=1.0)
    std = operation.draw_parameters(Stream(1))["q_proj.weight"].std()
    assert abs(std / 2000**-0.5 - 1) < 0.03


# Prefixes


@pytest.mark.parametrize(
    "case", [case for case in CASES if isinstance(case.operation, Prefixed)], ids=lambda case: case.name
)
def test_a_prefix_changes_names_and_nothing_else(case, made):
    inner_class = type(case.operation).__mro__[2]
    fields = {name: value for name, value in vars(case.operation).items() if name != "prefix"}
    inner, prefix, stream = inner_class(**fields), case.operation.prefix, Stream(case.seed)
    inputs, parameters = inner.draw_inputs(stream), inner.draw_parameters(stream)
    drawn = case.operation.draw_parameters(stream)
    assert list(drawn) == [prefix + name for name in parameters]
    assert all((drawn[prefix + name] == array).all() for name, array in parameters.items())
    assert case.operation.config == inner.config | {"prefix": prefix}
    want = inner.forward(inputs, parameters, "float32")["output"]
    assert (np.load(made / case.name / "expected/output.npy") == want).all()
