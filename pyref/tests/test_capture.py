"""A user's module becomes a case of its computation, or is refused with a reason."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pyref.build import environment
from pyref.build.pinned_torch import torch
from pyref.build.rng import Stream
from pyref.capture import any_module, blind, capture
from pyref.capture.call import Call
from pyref.capture.submodules import capture_submodules
from pyref.tests.support import ROOT, contents

Tensor = torch.Tensor


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(11)


class Mixer(torch.nn.Module):
    """x (..., 24) -> (..., 24): x plus a projection of its norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.LayerNorm(24)
        self.project = torch.nn.Linear(24, 24)

    def forward(self, x: Tensor) -> Tensor:
        """Mix the features."""
        return x + self.project(self.norm(x))


class Model(torch.nn.Module):
    """Two layers, the second called twice, and a third that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList([Mixer(), Mixer()])
        self.unused = Mixer()

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        """Run the layers."""
        x = self.layers[1](self.layers[0](x * scale))
        return self.layers[1](x=x)


class Lambda(torch.nn.Module):
    """A module of any function of x."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> object:
        """Apply the function."""
        return self.function(x)


def attention(**options) -> torch.nn.MultiheadAttention:
    return torch.nn.MultiheadAttention(40, 4, **options).eval()


def fields(folder: Path) -> dict:
    return json.loads((folder / "case.json").read_text())


def arrays(folder: Path, section: str) -> dict[str, np.ndarray]:
    return {name: np.load(folder / file) for name, file in fields(folder)[section].items()}


def test_attention_is_the_layer_that_difftest_knows(tmp_path):
    x, memory = torch.randn(3, 5, 40), torch.randn(3, 7, 28)
    padding = torch.arange(7) >= torch.tensor([[5], [7], [2]])
    layer = attention(kdim=28, vdim=28, batch_first=True, bias=False)
    inputs = {"query": x, "key": memory, "value": memory, "key_padding_mask": padding, "need_weights": False}
    case = capture(layer, inputs, "mine/cross", tmp_path)
    assert case == tmp_path / "mine/cross"
    said = fields(case)
    assert (said["name"], said["op"]) == ("mine/cross", "multi_head_attention")
    assert said["config"] == {
        "embed_dim": 40,
        "num_heads": 4,
        "kdim": 28,
        "vdim": 28,
        "bias": False,
        "keys": "torch",
        "causality": "none",
        "empty_row": "zero",
    }
    assert said["inputs"]["key"] == said["inputs"]["value"]
    assert set(said["expected"]) == {"output", "truth"}
    assert (arrays(case, "inputs")["padding"] == padding.numpy()).all()
    assert (arrays(case, "inputs")["key"] == memory.numpy()).all()
    for name, parameter in layer.state_dict().items():
        assert (arrays(case, "state_dict")[name] == parameter.numpy()).all()
    with torch.no_grad():
        output, _ = layer(**inputs)
        truth, _ = layer.double()(*(t.double() for t in (x, memory, memory)), padding)
    assert (arrays(case, "expected")["output"] == output.numpy()).all()
    assert np.abs(arrays(case, "expected")["truth"] - truth.numpy()).max() < 1e-15


@pytest.mark.parametrize(
    ("options", "shape", "call", "expected"),
    [
        ({}, (5, 3, 40), {}, {"input_layout": "sequence-first", "need_weights": "averaged"}),
        ({}, (5, 40), {"need_weights": False}, {"input_layout": "unbatched"}),
        ({"batch_first": True}, (3, 5, 40), {"average_attn_weights": False}, {"need_weights": "per-head"}),
        ({"batch_first": True, "add_bias_kv": True}, (3, 5, 40), {"need_weights": False}, {"bias_kv": True}),
        (
            {"add_zero_attn": True},
            (5, 40),
            {"need_weights": False},
            {"add_zero_attn": True, "input_layout": "unbatched"},
        ),
    ],
)
def test_attention_says_what_is_not_as_by_default(options, shape, call, expected, tmp_path):
    x = torch.randn(shape)
    case = capture(attention(**options), {"query": x, "key": x, "value": x, **call}, "mine/mha", tmp_path)
    always = {"embed_dim", "num_heads", "kdim", "vdim", "bias", "keys", "causality", "empty_row"}
    assert {k: v for k, v in fields(case)["config"].items() if k not in always} == expected
    weights = {"weights", "weights_truth"} if "need_weights" in expected else set()
    assert set(fields(case)["expected"]) == {"output", "truth"} | weights


@pytest.mark.parametrize("kind", ["block", "bias"])
def test_attention_masks_go_by_their_kind(kind, tmp_path):
    hidden = torch.ones(5, 5, dtype=torch.bool).triu(1)
    mask = hidden if kind == "block" else torch.randn(12, 5, 5).masked_fill(hidden, -math.inf)
    padding = torch.zeros(3, 5).index_fill(1, torch.tensor([4]), -math.inf)
    x = torch.randn(3, 5, 40)
    inputs = {"query": x, "key": x, "value": x, "attn_mask": mask, "need_weights": False}
    if kind == "bias":
        inputs["key_padding_mask"] = padding
    case = capture(attention(batch_first=True), inputs, "mine/mha", tmp_path)
    stored = arrays(case, "inputs")
    assert (stored[kind] == mask.numpy()).all()
    assert set(stored) - {"query", "key", "value"} == ({"block"} if kind == "block" else {"bias", "padding"})
    if kind == "bias":
        assert (stored["padding"] == np.isinf(padding.numpy())).all()


@pytest.mark.parametrize(
    ("train", "call", "empty"),
    [
        (False, {"need_weights": False}, "nan"),
        (False, {}, "nan"),
        (True, {}, "nan"),
        (True, {"need_weights": False}, "zero"),
    ],
)
def test_attention_says_what_a_query_without_keys_gives(train, call, empty, tmp_path):
    x, padding = torch.randn(3, 5, 40), torch.zeros(3, 5, dtype=torch.bool)
    padding[1] = True
    inputs = {"query": x, "key": x, "value": x, "key_padding_mask": padding, **call}
    case = capture(attention(batch_first=True).train(train), inputs, "mine/mha", tmp_path)
    assert fields(case)["config"]["empty_row"] == empty
    for array in (arrays(case, "expected")[name] for name in ("output", "truth")):
        assert np.isnan(array[1]).all() == (empty == "nan")
        assert np.isfinite(array[[0, 2]]).all()


def test_attention_with_a_wrong_hint_is_refused(tmp_path):
    x = torch.randn(3, 5, 40)
    inputs = {"query": x, "key": x, "value": x, "need_weights": False, "is_causal": True}
    inputs["attn_mask"] = torch.ones(5, 5, dtype=torch.bool).tril(-1)
    with pytest.raises(
        ValueError, match=r"mine/mha: the float64 output is .* away from the result of the masks"
    ):
        capture(attention(batch_first=True).train(), inputs, "mine/mha", tmp_path)
    assert contents(tmp_path) == {}


def test_a_module_is_a_case_with_a_sigma_of_its_own(tmp_path):
    module, x = Mixer(), torch.randn(3, 5, 24)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    case = capture(module, {"x": x}, "mine/mixer", tmp_path)
    said = fields(case)
    assert said["op"] == "module"
    assert said["config"]["module"] == f"{__name__}.Mixer"
    assert said["provenance"]["call"] == "train mode, no_grad"
    assert list(said["state_dict"]) == ["norm.weight", "norm.bias", "project.weight", "project.bias"]
    assert (arrays(case, "inputs")["x"] == x.numpy()).all()
    expected = arrays(case, "expected")
    assert [expected[name].dtype.name for name in ("output", "truth", "sigma")] == [
        "float32",
        "float64",
        "float64",
    ]
    assert {array.shape for array in expected.values()} == {(3, 5, 24)}
    with torch.no_grad():
        assert (expected["output"] == module(x).numpy()).all()
        assert (expected["truth"] == module.double()(x.double()).numpy()).all()
    assert all((before[name] == tensor).all() for name, tensor in module.float().state_dict().items())


def test_a_module_that_changes_itself_is_left_and_stored_as_it_was(tmp_path):
    norm = torch.nn.BatchNorm1d(24)
    case = capture(norm, {"input": torch.randn(8, 24) + 3}, "mine/batch-norm", tmp_path)
    assert norm.num_batches_tracked == 0
    assert (norm.running_mean == 0).all()
    assert (arrays(case, "state_dict")["running_mean"] == 0).all()


def deviations(case: Path, output: Tensor) -> tuple[float, float]:
    """Return the largest distance from the truth in sigma, and the root mean square."""
    expected = arrays(case, "expected")
    z = np.abs(output.detach().numpy() - expected["truth"]) / expected["sigma"]
    return z.max(), np.sqrt(np.mean(z**2))


def test_sigma_takes_other_orders_of_adding_and_no_error_of_1e_4(tmp_path):
    worst = [0.0, 0.0]
    for trial in range(20):
        module, x = Mixer(), torch.randn(4, 6, 24) * 2.0 ** (trial % 5)
        case = capture(module, {"x": x}, "mine/mixer", tmp_path)
        normed = module.norm(x)
        terms = normed[..., None, :] * module.project.weight
        backwards = module.project.bias
        for term in terms.flip(-1).unbind(-1):
            backwards = backwards + term
        for variant in (module(x), x + backwards, x + (terms.sum(-1) + module.project.bias)):
            worst = [max(pair) for pair in zip(worst, deviations(case, variant), strict=True)]
        largest, rms = deviations(
            case, x + normed @ module.project.weight.T * (1 + 1e-4) + module.project.bias
        )
        assert largest > 20
        assert rms > 2
    assert worst[0] <= 20
    assert worst[1] <= 2


def test_sigma_is_of_nine_runs_and_of_the_row(monkeypatch):
    truth, errors = np.ones((2, 3)), np.arange(54.0).reshape(9, 2, 3)
    runs = iter(truth + errors)
    monkeypatch.setattr(any_module.run, "once", lambda *_: [next(runs)])
    sigma = any_module.sigma("mine/module", torch.nn.Identity(), Call({}), truth, Stream(1))
    own = np.mean(errors**2, axis=0)
    assert np.allclose(sigma**2, own + own.mean(axis=-1, keepdims=True), rtol=1e-15)


def test_floats_are_moved_by_a_unit_in_the_last_place_in_either_direction():
    array = Stream(1).normal("x", (3000,))
    moved = any_module.nudge(array, Stream(2), "x")
    steps = [np.count_nonzero(moved == np.nextafter(array, np.float32(to))) for to in (-np.inf, np.inf)]
    assert np.allclose([*steps, np.count_nonzero(moved == array)], 1000, atol=100)
    assert sum(steps) + np.count_nonzero(moved == array) == 3000
    assert (any_module.nudge(array, Stream(3), "x") != moved).any()


def test_infinities_and_their_neighbours_are_not_moved_into_each_other():
    largest = np.finfo(np.float32).max
    for value in (np.inf, -np.inf):
        assert (any_module.nudge(np.full(100, value, np.float32), Stream(1), "x") == value).all()
    assert np.isfinite(any_module.nudge(np.full(100, largest), Stream(1), "x")).all()


def test_a_capture_again_gives_the_same_bytes_in_its_place(tmp_path):
    module, x = Mixer(), torch.randn(3, 5, 24)
    first = contents(capture(module, {"x": x}, "mine/mixer", tmp_path))
    assert contents(capture(module, {"x": x}, "mine/mixer", tmp_path)) == first
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["mixer"]


def test_the_first_tensor_of_a_tuple_is_the_output(tmp_path):
    case = capture(Lambda(lambda x: (2 * x, None, x)), {"x": torch.ones(2, 3)}, "mine/pair", tmp_path)
    assert (arrays(case, "expected")["output"] == 2).all()


def test_masks_and_indices_are_inputs_too(tmp_path):
    class Lookup(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = torch.nn.Embedding(9, 4)

        def forward(self, tokens: Tensor, keep: Tensor, shift: float) -> Tensor:
            return self.table(tokens) * keep[..., None] + shift

    inputs = {"tokens": torch.arange(6).view(2, 3), "keep": torch.ones(2, 3, dtype=torch.bool), "shift": 0.0}
    case = capture(Lookup(), inputs, "mine/lookup", tmp_path)
    assert {name: array.dtype.name for name, array in arrays(case, "inputs").items()} == {
        "tokens": "int64",
        "keep": "bool",
    }
    assert fields(case)["provenance"]["call"] == "train mode, no_grad, shift=0.0"
    # The table is the only float tensor, so all noise comes from it.
    assert (arrays(case, "expected")["sigma"] > 0).all()


def test_the_truth_is_float64_where_a_module_asks_for_float32(tmp_path):
    def norm(x: Tensor) -> Tensor:
        wide = x.to(torch.float32).float()
        angle = torch.arange(x.shape[-1], dtype=torch.float32) + torch.zeros(1)
        return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True)) * angle.cos()).to(x.dtype)

    x = torch.randn(3, 24)
    case = capture(Lambda(norm), {"x": x}, "mine/norm", tmp_path)
    wide = x.numpy().astype(np.float64)
    want = wide / np.sqrt((wide**2).mean(-1, keepdims=True)) * np.cos(np.arange(24))
    assert np.abs(arrays(case, "expected")["truth"] - want).max() < 1e-14
    assert torch.get_default_dtype() == torch.float32


def test_infinite_inputs_stay_as_they_are(tmp_path):
    mask = torch.tensor([[0.0, -math.inf], [torch.finfo().min, 0.0]])
    case = capture(Lambda(lambda x: torch.softmax(x, -1)), {"x": mask}, "mine/mask", tmp_path)
    assert (arrays(case, "expected")["truth"] == np.eye(2)).all()


class Counter(torch.nn.Module):
    """Multiplies by a count that grows by `step` with every call."""

    def __init__(self, step: int = 0) -> None:
        super().__init__()
        self.calls, self.step = 1, step

    def forward(self, x: Tensor) -> Tensor:
        """Multiply by the count."""
        self.calls += self.step
        return x * self.calls


x = torch.ones(2, 3)


def test_values_that_hide_mistakes_are_said():
    module = torch.nn.Sequential(torch.nn.LayerNorm(3), torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
    module[2].weight.data.copy_(module[1].weight.data)
    module[2].bias.data.zero_()
    assert list(blind.spots(module)) == [
        "all ones: 0.weight: a program that leaves them out passes",
        "all zeros: 0.bias, 2.bias: a program that leaves them out passes",
        "equal: 1.weight, 2.weight: a program that exchanges them passes",
        "square: 1.weight, 2.weight: their shapes do not tell a program to transpose them",
    ]
    module[2].weight = module[1].weight  # tied: one parameter
    assert [spot.split(":")[0] for spot in blind.spots(module)] == ["all ones", "all zeros", "square"]
    assert not list(blind.spots(torch.nn.Linear(3, 4)))
    layers = torch.nn.ModuleList(torch.nn.Linear(3, 4) for _ in range(4))
    assert [spot.split(":")[0] for spot in blind.spots(layers)] == ["4 layers"]
    layers.extend(torch.nn.Linear(3, 4) for _ in range(7))
    assert not list(blind.spots(layers))


def test_inputs_that_hide_mistakes_are_said():
    class Masked(torch.nn.Module):
        def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
            return input_ids.float()

    module, ids, mask = Masked(), torch.ones(2, 6, dtype=torch.int64), torch.ones(2, 6, dtype=torch.int64)
    module.config = SimpleNamespace(sliding_window=6)
    unpadded = "no row is padded: attention_mask: a program that ignores it passes"
    unseen = "T 6 <= window 6: a program without the window passes"
    for inputs in ({"input_ids": ids}, {"input_ids": ids, "attention_mask": mask}):
        assert list(blind.spots(module, Call.of(module, inputs))) == [unpadded, unseen]
    mask[0, 4:] = 0
    assert list(blind.spots(module, Call.of(module, (ids, mask)))) == [unseen]
    module.config = None
    assert not list(blind.spots(module, Call.of(module, (ids, mask))))


@pytest.mark.parametrize("nested", [lambda x: {"y": 2 * x}, lambda x: (None, {"y": [2 * x, x]})])
def test_the_first_tensor_of_floats_is_the_output(nested, tmp_path):
    folder = capture(Lambda(nested), {"x": x}, "mine/nested", tmp_path)
    assert np.array_equal(np.load(folder / "expected" / "output.npy"), 2 * x.numpy())


@pytest.mark.parametrize(
    ("module", "inputs", "problem"),
    [
        (
            torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Dropout(0.1)),
            {"input": x},
            r"dropout 0\.1 is active in 1: call eval\(\) first",
        ),
        (
            torch.nn.MultiheadAttention(4, 2, dropout=0.2),
            {"query": x, "key": x, "value": x},
            r"dropout 0\.2 is active in the module",
        ),
        (Counter(step=1), {"x": x}, "two forward passes on the same inputs differ"),
        (Lambda(torch.rand_like), {"x": x}, "two forward passes on the same inputs differ"),
        (Lambda(lambda x: x / 0), {"x": x}, "the output has 6 elements that are not finite, of 6"),
        (
            torch.nn.MultiheadAttention(3, 1).eval(),
            {"query": x, "key": x, "value": x, "key_padding_mask": x[:, 0] > 0},
            "the output has 6 elements that are not finite, of 6",
        ),
        (Lambda(lambda x: {"y": 3}), {"x": x}, "the output is a dict, want a tensor of floats, or something"),
        (
            Lambda(lambda x: torch.nested.nested_tensor(list(x))),
            {"x": x},
            "the output is a nested tensor, which has no shape",
        ),
        (
            Lambda(lambda x: (None, x.shape)),
            {"x": x},
            "the output is a tuple, want a tensor of floats, or something that holds one",
        ),
        (Lambda(lambda x: x > 0), {"x": x}, "the output is a Tensor, want a tensor of floats"),
        (
            Lambda(lambda x: 2 * x if x.dtype == torch.float64 else x),
            {"x": x},
            "another output in float64 than in float32",
        ),
        (Lambda(abs), {"x": x.to("meta")}, "input x is on the device meta, which holds no values"),
        (Lambda(abs), {"x": x.to_sparse()}, r"input x is torch\.float32, torch\.sparse_coo"),
        (Lambda(abs), {"x": (x, x)}, "the module fails in float32: TypeError: bad operand type"),
        (Mixer(), {"x": x}, "the module fails in float32: RuntimeError: Given normalized_shape"),
        (Mixer(), {"y": x}, r"inputs do not fit Mixer\.forward: missing a required argument: 'x'"),
        (
            torch.nn.MultiheadAttention(3, 1, batch_first=True),
            {"query": x[None], "key": x[None], "value": x[None], "key_padding_mask": x[:1, :2] / 2},
            "key_padding_mask holds other values than 0 and -inf",
        ),
    ],
)
def test_what_cannot_be_a_case_is_refused(module, inputs, problem, tmp_path):
    with pytest.raises(ValueError, match=problem) as caught:
        capture(module, inputs, "mine/case", tmp_path)
    assert "\n" not in str(caught.value)
    assert contents(tmp_path) == {}


@pytest.mark.parametrize(
    "name", ["mine", "Mine/case", "mine/../case", "/mine/case", "mine/", "mine/a b", ".m/c"]
)
def test_a_name_that_is_no_safe_path_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match="want group/name of lower-case letters"):
        capture(Mixer(), {"x": torch.ones(1, 24)}, name, tmp_path)


def test_a_folder_that_is_no_case_is_not_replaced(tmp_path):
    (tmp_path / "mine/mixer").mkdir(parents=True)
    (tmp_path / "mine/mixer/thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="mixer exists and is not a case"):
        capture(Mixer(), {"x": torch.ones(1, 24)}, "mine/mixer", tmp_path)
    assert contents(tmp_path) == {"mine/mixer/thesis.txt": b"years of work"}


def test_every_call_of_a_matching_submodule_has_its_own_inputs(tmp_path):
    model, x = Model(), torch.randn(3, 5, 24)
    cases = capture_submodules(model, {"x": x, "scale": 2.0}, "layers.?", "mine/model", tmp_path).folders
    assert [case.name for case in cases] == ["model-layers-0", "model-layers-1", "model-layers-1-call-2"]
    with torch.no_grad():
        values = [2 * x]
        for layer in (model.layers[0], model.layers[1], model.layers[1]):
            values.append(layer(values[-1]))
    for case, given, output in zip(cases, values[:-1], values[1:], strict=True):
        assert (arrays(case, "inputs")["x"] == given.numpy()).all()
        assert (arrays(case, "expected")["output"] == output.numpy()).all()
    assert fields(cases[0])["purpose"] == f"layers.0 of {__name__}.Model, captured with its own inputs."
    assert not any(inner._forward_hooks for inner in model.modules())


def test_the_layers_of_an_encoder_are_called_as_in_train_mode(tmp_path):
    layer = torch.nn.TransformerEncoderLayer(40, 4, 8, batch_first=True)
    model = torch.nn.TransformerEncoder(layer, 2).eval()
    padding = torch.arange(5) >= torch.tensor([[5], [2], [4]])
    inputs = {"src": torch.randn(3, 5, 40), "src_key_padding_mask": padding}
    cases = capture_submodules(model, inputs, "layers.?.self_attn", "mine/encoder", tmp_path).folders
    assert [case.name for case in cases] == ["encoder-layers-0-self-attn", "encoder-layers-1-self-attn"]
    assert {fields(case)["op"] for case in cases} == {"multi_head_attention"}
    assert (arrays(cases[0], "inputs")["padding"] == padding.numpy()).all()
    whole = capture(model, inputs, "mine/whole", tmp_path)
    assert np.abs(arrays(whole, "expected")["truth"][1, 3]).max() > 0
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_pattern_that_no_called_submodule_has_is_refused(tmp_path):
    for pattern, problem in (
        (
            "none.*",
            r"no submodule matches 'none\.\*': there are layers, layers\.0, layers\.0\.norm, ",
        ),
        ("unused", "no call of unused, which match 'unused'"),
    ):
        with pytest.raises(ValueError, match=f"mine/model: {problem}"):
            capture_submodules(Model(), {"x": torch.ones(1, 24)}, pattern, "mine/model", tmp_path)


def test_submodules_of_one_folder_name_are_refused(tmp_path):
    model = torch.nn.Sequential()
    model.add_module("a_b", torch.nn.Identity())
    model.add_module("a-b", torch.nn.Identity())
    with pytest.raises(ValueError, match="mine/model: more than one submodule would be mine/model-a-b"):
        capture_submodules(model, {"input": torch.ones(2, 3)}, "*", "mine/model", tmp_path)
    assert contents(tmp_path) == {}


def test_a_submodule_with_a_hidden_input_is_refused(tmp_path):
    class Hidden(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Counter()

        def forward(self, x: Tensor) -> Tensor:
            self.inner.calls = 7
            y = self.inner(x)
            self.inner.calls = 1
            return y

    captured = capture_submodules(Hidden(), {"x": torch.ones(2, 3)}, "inner", "mine/hidden", tmp_path)
    assert captured.folders == []
    assert list(captured.refused) == ["mine/hidden-inner"]
    assert captured.refused["mine/hidden-inner"].startswith(
        "the module gives another output alone than in the model"
    )


def test_capture_needs_neither_the_pinned_build_nor_its_variables():
    code = "import sys, pyref.capture.submodules, pyref.capture.target; print(*sys.modules)"
    imported = run("-c", code, cwd=ROOT).stdout.split()
    assert "pyref.capture.target" in imported
    assert "pyref.build.pinned_torch" not in imported


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    """Run this Python as a user would, without the variables of the pinned build."""
    variables = {name: value for name, value in os.environ.items() if name not in environment.VARIABLES}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=variables | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


FACTORIES = """
import torch

def linear():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU()), {"input": torch.ones(2, 3)}

def nothing():
    return None
"""


def test_the_command_captures_what_a_factory_makes(tmp_path):
    (tmp_path / "layers.py").write_text(FACTORIES)
    result = run(
        "-m", "pyref", "capture", "layers.py:linear", "--name", "mine/l", "--into", "out", cwd=tmp_path
    )
    assert (result.stdout, result.stderr) == ("out/mine/l\n", "")
    said = fields(tmp_path / "out/mine/l")["provenance"]
    assert said["function"] == "torch.nn.modules.container.Sequential"
    assert said["environment"] == {}
    assert said["torch"] == torch.__version__
    more = ("--name", "mine/l", "--into", "out", "--submodules", "*")
    result = run("-m", "pyref", "capture", "layers:linear", *more, cwd=tmp_path)
    assert (result.stdout, result.stderr) == ("out/mine/l-0\nout/mine/l-1\n", "")


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        (
            "layers.py",
            "'layers.py': want FILE.py:FACTORY, package.module:FACTORY, transformers:CLASS or a folder",
        ),
        ("none.py:make", "none.py: no such file"),
        ("layers.py:absent", "layers.py has no function or class absent"),
        ("no_such_package:Model", "no_such_package is not installed: pip install no_such_package"),
        ("layers.py:nothing", "layers.py:nothing: want a module and its inputs, as a dict or a tuple"),
    ],
)
def test_the_command_says_what_is_wrong_with_its_target(target, problem, tmp_path):
    (tmp_path / "layers.py").write_text(FACTORIES)
    result = run("-m", "pyref", "capture", target, "--name", "mine/l", "--into", "out", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith(f"pyref: {problem}")
    assert result.stderr.count("\n") == 1


def test_the_readme_shows_what_runs(tmp_path):
    readme = (ROOT / "README.md").read_text()
    source = re.search(r"```python\n# (\w+\.py)\n(.*?)```", readme, re.DOTALL)
    command = re.search(r"^python -m difftest (capture .* --name mine/gate .*)$", readme, re.MULTILINE)
    (tmp_path / source[1]).write_text(source[2])
    result = run("-m", "pyref", *command[1].split(), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    name = re.search(r"--name (\S+)", command[1])[1]
    assert fields(tmp_path / "cases" / name)["op"] == "module"
    assert f"difftest check {name} output.npy --fixtures cases" in readme
