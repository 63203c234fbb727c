"""Modules as people have them: nested arguments and results, caches, functions, other types."""

import copy
import json
from collections import UserDict, namedtuple
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pyref.build.pinned_torch import torch
from pyref.capture import about, capture
from pyref.capture.call import Call
from pyref.capture.shake import shaken
from pyref.capture.submodules import capture_submodules
from pyref.capture.tree import flatten
from pyref.tests.support import contents

Tensor = torch.Tensor
Pair = namedtuple("Pair", ["left", "right"])


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(5)


@dataclass(frozen=True)
class Batch:
    """A dataclass of tensors."""

    states: Tensor
    scale: float = 2.0


class Cache:
    """A cache that grows, as Hugging Face's does: its layers hold keys."""

    def __init__(self, *keys: Tensor) -> None:
        self.layers, self.name = [Layer(key) for key in keys], "cache"

    def update(self, new: Tensor) -> Tensor:
        """Put new keys behind the keys of the first layer, and return all."""
        if not self.layers:
            self.layers.append(Layer(new[:, :0]))
        self.layers[0].keys = torch.cat([self.layers[0].keys, new], dim=1)
        return self.layers[0].keys


class Layer:
    """The keys of one layer."""

    def __init__(self, keys: Tensor) -> None:
        self.keys = keys


class Linear(torch.nn.Module):
    """A linear layer on a function of the arguments, and a function of its result."""

    def __init__(self, take=lambda x: x, give=lambda y: y) -> None:
        super().__init__()
        self.linear, self.take, self.give = torch.nn.Linear(6, 4), take, give

    def forward(self, x: object, **more: object) -> object:
        """Take, multiply and give."""
        return self.give(self.linear(self.take(x, **more)))


def fields(folder: Path) -> dict:
    return json.loads((folder / "case.json").read_text())


def arrays(folder: Path, section: str) -> dict[str, np.ndarray]:
    return {name: np.load(folder / file) for name, file in fields(folder)[section].items()}


x, y = torch.randn(2, 3, 6), torch.randn(2, 3, 6)


@pytest.mark.parametrize(
    ("value", "names", "take"),
    [
        ((x, (y, x)), ["x.0", "x.1.0", "x.1.1"], lambda v: v[0] + v[1][0] * v[1][1]),
        ([x, y], ["x.0", "x.1"], lambda v: v[0] - v[1]),
        ({"a": x, "b/c": y}, ["x.a", "x.b-c"], lambda v: v["a"] + v["b/c"]),
        (UserDict({"a": x, "n": 3}), ["x.a"], lambda v: v["a"] * v["n"]),
        (Batch(x), ["x.states"], lambda v: v.states * v.scale),
        (Pair(x, None), ["x.left"], lambda v: v.left if v.right is None else v),
        (Cache(x, y), ["x.layers.0.keys", "x.layers.1.keys"], lambda v: v.update(v.layers[1].keys)),
    ],
    ids=["tuple", "list", "dict", "mapping", "dataclass", "namedtuple", "cache"],
)
def test_nested_inputs_are_stored_by_the_way_to_them(value, names, take, tmp_path):
    module, before = Linear(take), copy.deepcopy(value)
    case = capture(module, {"x": value}, "mine/nested", tmp_path)
    said = fields(case)
    assert list(said["inputs"]) == names
    assert set(said["graph"]) == {"sha256"}, said["graph"]
    taken = json.loads((case / "graph.json").read_text())["inputs"].values()
    assert {said["inputs"][name] for name in taken} == set(said["inputs"].values())
    with torch.no_grad():
        assert (arrays(case, "expected")["output"] == module(copy.deepcopy(value)).numpy()).all()
    for a, b in zip(flatten("", value).leaves.values(), flatten("", before).leaves.values(), strict=True):
        assert torch.equal(a, b) if isinstance(a, Tensor) else a == b, "the capture changed its inputs"


def test_an_empty_cache_is_new_for_every_run(tmp_path):
    case = capture(Linear(lambda x, cache: cache.update(x)), {"x": x, "cache": Cache()}, "mine/c", tmp_path)
    assert list(fields(case)["inputs"]) == ["x"]
    assert fields(case)["provenance"]["call"] == "train mode, no_grad, cache=a Cache"
    assert arrays(case, "expected")["output"].shape == (2, 3, 4)


def test_parts_that_share_a_tensor_share_its_file(tmp_path):
    case = capture(Linear(lambda v: v[0] + v[1]), {"x": (x, x)}, "mine/shared", tmp_path)
    assert set(fields(case)["inputs"].values()) == {"inputs/x.0.npy"}


@pytest.mark.parametrize("inputs", [(x,), [x], x, {"x": x}], ids=["tuple", "list", "tensor", "dict"])
def test_arguments_go_by_position_or_by_name(inputs, tmp_path):
    assert list(fields(capture(Linear(), inputs, "mine/by", tmp_path))["inputs"]) == ["x"]


def test_two_parts_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"x: two parts have the name x\.a-b"):
        flatten("x", {"a/b": x, "a b": x})


def test_a_cycle_of_objects_is_refused():
    first, second = Layer(x), Layer(y)
    first.keys, second.keys = [second, x], [first, y]
    with pytest.raises(ValueError, match="nested more than 20 deep"):
        flatten("x", first)


@pytest.mark.parametrize(
    ("output", "factor"),
    [("", 1), ("0", 1), ("1", 2), ("1.b", 3), ("2", 4), ("2.layers.0.keys", 4)],
)
def test_any_part_of_the_result_can_be_the_output(output, factor, tmp_path):
    module = Linear(give=lambda v: (v, {"n": 7, "a": 2 * v, "b": 3 * v}, Cache(4 * v)))
    case = capture(module, {"x": x}, "mine/part", tmp_path, output)
    with torch.no_grad():
        assert torch.allclose(torch.from_numpy(arrays(case, "expected")["output"]), factor * module.linear(x))
    assert ("output " + output in fields(case)["provenance"]["call"]) == bool(output)
    assert set(fields(case)["graph"]) == {"sha256"}


def test_a_part_that_the_result_has_not_is_refused_with_the_parts_that_it_has(tmp_path):
    module = Linear(give=lambda v: {"logits": v, "cache": Cache(v), "n": 3})
    with pytest.raises(ValueError, match=r"called 'n': there are logits, cache\.layers\.0\.keys$"):
        capture(module, {"x": x}, "mine/part", tmp_path, "n")
    assert contents(tmp_path) == {}


def test_a_function_and_a_method_are_captured(tmp_path):
    def gate(x: Tensor, scale: float = 1.0) -> Tensor:
        return torch.sigmoid(x) * scale

    said = fields(capture(gate, {"x": x, "scale": 2.0}, "mine/gate", tmp_path))
    assert said["config"]["module"] == f"{__name__}.{gate.__qualname__}"
    assert list(said["inputs"]) == ["x"]

    class Two(Linear):
        def encode(self, x: Tensor) -> Tensor:
            return self.linear(x) + 1

    module = Two()
    case = capture(module.encode, (x,), "mine/encode", tmp_path)
    assert fields(case)["config"]["module"].endswith("Two.encode")
    assert set(fields(case)["state_dict"]) == {"linear.weight", "linear.bias"}
    with torch.no_grad():
        assert (arrays(case, "expected")["output"] == module.encode(x).numpy()).all()
    with pytest.raises(ValueError, match="capture a module that the function calls, or a method of it"):
        capture(lambda x: module(x), (x,), "mine/closed", tmp_path)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_floats_are_computed_in_float32_and_said(dtype, tmp_path):
    module, notes = Linear().to(dtype), []
    case = capture(module, {"x": x.to(dtype)}, "mine/low", tmp_path, say=notes.append)
    word = str(dtype).removeprefix("torch.")
    assert notes == [f"computed in float32, the parameters are {word}", f"x made float32 from {word}"]
    assert fields(case)["config"]["dtype"] == word
    assert module.linear.weight.dtype is dtype
    rounded = module.float()
    with torch.no_grad():
        assert (arrays(case, "expected")["output"] == rounded(x.to(dtype).float()).numpy()).all()
        truth = rounded.double()(x.to(dtype).float().double())
    assert np.abs(arrays(case, "expected")["truth"] - truth.numpy()).max() < 1e-15


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.int8, torch.uint8, torch.int64])
def test_all_integers_are_inputs_and_stored_as_int64(dtype, tmp_path):
    class Typed(torch.nn.Module):
        def forward(self, n: Tensor) -> Tensor:
            assert n.dtype is dtype
            return n.float() / 3

    case = capture(Typed(), (torch.arange(6).to(dtype),), "mine/n", tmp_path)
    assert arrays(case, "inputs")["n"].dtype == np.int64
    assert (arrays(case, "inputs")["n"] == np.arange(6)).all()


def test_complex_buffers_are_stored_as_pairs(tmp_path):
    class Turn(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("angles", torch.polar(torch.ones(3), torch.arange(3.0)))

        def forward(self, x: Tensor) -> Tensor:
            pairs = torch.view_as_complex(x.unflatten(-1, (3, 2)))
            return torch.view_as_real(pairs * self.angles).flatten(-2)

    module = Turn()
    case = capture(module, (x,), "mine/turn", tmp_path)
    assert (arrays(case, "state_dict")["angles"] == torch.view_as_real(module.angles).numpy()).all()
    assert "complex numbers stored as pairs: angles" in fields(case)["provenance"]["call"]
    wide = x.double().numpy().reshape(2, 3, 3, 2)
    turned = (wide[..., 0] + 1j * wide[..., 1]) * module.angles.numpy().astype(complex)
    want = np.stack([turned.real, turned.imag], axis=-1).reshape(2, 3, 6)
    assert np.abs(arrays(case, "expected")["truth"] - want).max() < 1e-15


def test_a_subclass_without_a_forward_of_its_own_is_the_attention_that_difftest_knows(tmp_path):
    class Plain(torch.nn.MultiheadAttention):
        pass

    class Other(torch.nn.MultiheadAttention):
        def forward(self, query: Tensor) -> Tensor:
            return super().forward(query, query, query, need_weights=False)[0] * 2

    given = {"query": x, "key": x, "value": x, "need_weights": False}
    assert fields(capture(Plain(6, 2), given, "mine/plain", tmp_path))["op"] == "multi_head_attention"
    assert fields(capture(Other(6, 2), (x,), "mine/other", tmp_path))["op"] == "module"


class Experts(torch.nn.Module):
    """Experts that have no float64 in their own implementation."""

    def __init__(self, config) -> None:
        super().__init__()
        self.config, self.linear = config, torch.nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        """Refuse float64, as grouped_mm does."""
        if self.config._experts_implementation == "grouped_mm" and x.dtype is torch.float64:
            raise RuntimeError("Expected mat_a to be Float32 matrix got Double\nsecond line")
        return self.linear(x)


class Config:
    """A configuration with a choice of experts, as Hugging Face's."""

    def __init__(self) -> None:
        self._experts_implementation, self.heads, self._name_or_path = "grouped_mm", 4, "secret"
        self.where, self.api_key, self.base, self.dtype = "/home/me/model", "k", float("inf"), torch.bfloat16


def test_experts_are_computed_in_a_way_that_has_float64_and_said(tmp_path):
    module, notes = Experts(Config()), []
    case = capture(module, (x,), "mine/experts", tmp_path, say=notes.append)
    assert notes == ["experts computed by batched_mm in place of grouped_mm"]
    assert notes[0] in fields(case)["provenance"]["call"]
    assert module.config._experts_implementation == "grouped_mm", "the user's module changed"


def test_a_module_that_fails_gives_one_line(tmp_path):
    fixed = torch.ones(6, 6)
    module = Linear(lambda x: torch.nn.functional.linear(x, fixed))
    with pytest.raises(ValueError, match="mine/f: the module fails in float64: RuntimeError: ") as caught:
        capture(module, (x,), "mine/f", tmp_path)
    assert "\n" not in str(caught.value)


def test_settings_leave_out_secrets_and_paths():
    module = torch.nn.Linear(2, 3)
    module.config = Config()
    assert about.settings(module) == {"heads": 4, "base": "inf", "dtype": "bfloat16"}
    module.config = Batch(x)
    assert about.settings(module) == {"scale": 2.0}
    module.config = {"a": [1, {"b": None, "token": "t", "pad_token_id": 3}], 2: ("c", "../d")}
    assert about.settings(module) == {"a": [1, {"b": None, "pad_token_id": 3}], "2": ["c"]}
    module.config = {"a": "b" * 900, "c": list(range(20000))}
    assert about.settings(module) == {}
    assert about.settings(torch.nn.Linear(2, 3)) == {}


def test_the_structure_is_what_pytorch_prints(tmp_path):
    case = capture(Linear(), (x,), "mine/l", tmp_path)
    assert fields(case)["config"]["structure"] == repr(Linear()).splitlines()
    deep = torch.nn.Sequential(*(torch.nn.Linear(1, i) for i in range(1, 2500)))
    lines = about.structure(deep)
    assert len(lines) == 2000
    assert lines[-1] == "... 502 more lines"


def test_submodules_that_cannot_be_captured_do_not_stop_the_others(tmp_path):
    class Index(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.argmax(-1)

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.index, self.linear, self.drawn = Index(), torch.nn.Linear(6, 6), Drawn()

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x) + self.index(x)[..., None] + 0 * self.drawn(x)

    class Drawn(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.rand_like(x)

    captured = capture_submodules(Model(), (x,), "*", "mine/m", tmp_path)
    assert [folder.name for folder in captured.folders] == ["m-linear"]
    assert captured.refused == {
        "mine/m-index": "the output is a Tensor, want a tensor of floats, or something that holds one",
        "mine/m-drawn": "two forward passes on the same inputs differ",
    }


def test_shaken_parameters_hide_nothing_and_stay_tied():
    class Gemma(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(400))

        def forward(self, x: Tensor) -> Tensor:
            return x * (1 + self.weight)

    class GemmaRMSNorm(Gemma):
        pass

    model = torch.nn.ModuleDict(
        {
            "embed": torch.nn.Embedding(50, 400),
            "norm": torch.nn.LayerNorm(400),
            "gemma": GemmaRMSNorm(),
            "linear": torch.nn.Linear(400, 300),
            "batch": torch.nn.BatchNorm1d(400),
            "head": torch.nn.Linear(400, 50, bias=False),
        }
    )
    model["head"].weight = model["embed"].weight
    before = copy.deepcopy(model.state_dict())
    shaken_model = shaken(model, 7)
    state = shaken_model.state_dict()
    for name, (mean, std) in {
        "embed.weight": (0, 0.05),
        "norm.weight": (1, 0.2),
        "norm.bias": (0, 0.2),
        "gemma.weight": (0, 0.2),
        "linear.weight": (0, 400**-0.5),
        "linear.bias": (0, 0.2),
        "batch.weight": (1, 0.2),
        "batch.running_mean": (0, 0.2),
    }.items():
        assert abs(state[name].mean() - mean) < 4 * std / state[name].numel() ** 0.5, name
        assert abs(state[name].std() / std - 1) < 0.2, name
    assert (state["batch.running_var"] > 0).all()
    assert shaken_model["head"].weight is shaken_model["embed"].weight
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    again, other = shaken(model, 7).state_dict(), shaken(model, 8).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in state.items())
    assert not torch.equal(other["linear.weight"], state["linear.weight"])


def test_a_call_keeps_the_names_of_all_leaves():
    call = Call.of(Linear(), {"x": (x, {"n": 3, "y": y})})
    assert list(call.arrays) == ["x.0", "x.1.y"]
    assert call.plain == {"x.1.n": 3}


class Cast(torch.nn.Module):
    """A layer that computes in bfloat16 by casts of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output in float32."""
        weight, bias = self.linear.weight.bfloat16(), self.linear.bias.bfloat16()
        return torch.nn.functional.linear(x.bfloat16(), weight, bias).float()


def test_a_cast_to_fewer_bits_is_refused_with_its_reason(tmp_path):
    with pytest.raises(ValueError, match=r"the module computes in torch\.bfloat16 on float32 parameters"):
        capture(Cast().eval(), torch.randn(3, 8), "a/b", tmp_path)
