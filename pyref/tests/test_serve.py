"""A served torch module gets a case's parameters and PyTorch's masks, or skips the case."""

import sys
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from pyref import subject
from pyref.build.pinned_torch import torch
from pyref.capture import capture
from pyref.serve import arguments, attn_mask, compute
from pyref.tests.support import ROOT, Command, python

Tensor = torch.Tensor
SERVE = (sys.executable, "-m", "pyref", "serve")
MODULES = ROOT / "pyref/examples/torch_modules.py"
LAYER, FUNCTION = subject.OPS["mha"], subject.OPS["sdpa"]


@pytest.fixture(scope="module")
def pytorch(difftest: Command) -> dict[str, str]:
    """Return the verdicts on PyTorch's own layer and function."""
    return difftest.verdicts("--", *SERVE, f"{MODULES}:make")


def test_pytorch_passes_or_refuses_with_a_reason(pytorch):
    reasons = (
        *(f"skip: PyTorch has no {name}" for name in ("softcap", "alibi", "rope", "relative_bias")),
        "skip: this layer is not nn.MultiheadAttention",
        "skip: forward has no parameter for sinks",
        "skip: forward has no parameter for past_key, past_value",
    )
    assert set(pytorch.values()) == {"pass", *reasons}


def test_pytorch_passes_every_case_of_its_own(pytorch):
    own = [name for name in pytorch if name.startswith(("mha/", "samples/module", "samples/sdpa"))]
    assert len(own) > 50
    assert Counter(pytorch[name] for name in own) == {"pass": len(own)}


def test_the_function_passes_what_only_a_mask_can_say(pytorch):
    named = ("bool-mask", "float-mask", "causal-lower-right", "window-gqa", "window-two-sided", "scale")
    for name in (*named, "key-lengths", "key-lengths-causal", "first-positions"):
        assert pytorch[f"sdpa/{name}"] == "pass"


WRONG = [
    ("attn_mask=~attn_mask", "sdpa/bool-mask", "mask-inverted"),
    ("attn_mask=None", "sdpa/causal", "causal-missing"),
]


@pytest.mark.parametrize(("call", "case", "name"), WRONG)
def test_a_mistake_in_a_module_is_named(difftest, tmp_path, call, case, name):
    text = MODULES.read_text()
    assert text.count("attn_mask=attn_mask") == 1
    module = tmp_path / "wrong.py"
    module.write_text(text.replace("attn_mask=attn_mask", call))
    assert difftest.verdicts("--case", case, "--", *SERVE, f"{module}:make") == {case: f"fail: {name}"}


def test_a_process_for_every_case_does_the_same(difftest):
    case = "mha/causal-left-padding"
    assert difftest.verdicts("--case", case, "--once", "--", *SERVE, f"{MODULES}:make") == {case: "pass"}


GATE = """
import torch

class Gate(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = torch.nn.Linear(16, 64), torch.nn.Linear(32, 16)

    def forward(self, x, level):
        value, gate = self.up(x).chunk(2, dim=-1)
        return self.down(value * torch.nn.functional.silu(gate)) * level

def make(config):
    if config.module != "gate.Gate":
        raise NotImplementedError(config.module)
    return Gate()
"""


def test_a_captured_module_is_served_its_inputs_by_name(difftest, tmp_path, monkeypatch):
    (tmp_path / "gate.py").write_text(GATE)
    monkeypatch.syspath_prepend(tmp_path)
    from gate import Gate

    inputs = {"x": torch.randn(3, 5, 16), "level": torch.rand(5, 1)}
    capture(Gate().eval(), inputs, "mine/gate", tmp_path / "cases")
    served = ("--fixtures", tmp_path / "cases", "--", *SERVE)
    assert difftest.verdicts(*served, f"{tmp_path / 'gate.py'}:make") == {"mine/gate": "pass"}
    (tmp_path / "other.py").write_text(GATE.replace("* level", "+ level"))
    assert difftest.verdicts(*served, f"{tmp_path / 'other.py'}:make")["mine/gate"].startswith("fail: ")


class Layer(torch.nn.Module):
    """A layer with any function as its forward."""

    def __init__(self, forward) -> None:
        super().__init__()
        self.forward = forward


def asked(op: str = LAYER, **fields: object) -> SimpleNamespace:
    """Return a configuration without any feature but the given fields."""
    nothing = {"causality": "none", "first_position": 0, "window": None, "scale": 0.5, "enable_gqa": False}
    layer = {"input_layout": "batch-first", "need_weights": None} if op == LAYER else {}
    return SimpleNamespace(op=op, **{**nothing, **layer, **fields})


X, MEMORY = torch.zeros(2, 3, 4), torch.zeros(2, 5, 4)
SELF, CROSS = {"query": X, "key": X, "value": X}, {"query": X, "key": MEMORY, "value": MEMORY}


def given(forward, config: SimpleNamespace, inputs: dict[str, Tensor]) -> dict[str, object]:
    return arguments(Layer(forward), config, inputs)


def test_the_first_parameter_is_the_query_of_self_attention():
    assert given(lambda x: x, asked(), SELF) == {"x": X}
    assert given(lambda hidden, scale: hidden, asked(), SELF) == {"hidden": X, "scale": 0.5}


def test_key_and_value_may_be_one_memory():
    assert given(lambda query, key: query, asked(), CROSS) == {"query": X, "key": MEMORY}


@pytest.mark.parametrize(
    ("forward", "config", "inputs", "lacks"),
    [
        (lambda x: x, asked(), CROSS, "key"),
        (lambda query, key: query, asked(), {**CROSS, "value": torch.ones(2, 5, 4)}, "value"),
        (lambda x: x, asked(), {**SELF, "padding": X}, "padding"),
        (lambda x, attn_mask: x, asked(), {**SELF, "padding": X, "past_key": X}, "padding, past_key"),
        (lambda x, key_padding_mask: x, asked(), {**SELF, "block": X}, "block"),
        (lambda x: x, asked(need_weights="averaged"), SELF, "need_weights"),
    ],
)
def test_what_no_parameter_takes_is_refused(forward, config, inputs, lacks):
    with pytest.raises(NotImplementedError, match=f"forward has no parameter for {lacks}$"):
        given(forward, config, inputs)


def masked(op: str = LAYER, inputs: dict[str, Tensor] = SELF, **fields: object) -> list | None:
    """Return the attn_mask as lists."""
    made = attn_mask(asked(op, **fields), inputs)
    return None if made is None else made.tolist()


T, F, INF = True, False, float("-inf")
ALLOW = torch.tensor([[T, F, T]])
BIAS = torch.tensor([[1.0, 2.0, 3.0]] * 3)


def test_true_is_ignored_by_a_layer_and_takes_part_in_the_function():
    assert masked(causality="top-left") == [[F, T, T], [F, F, T], [F, F, F]]
    assert masked(FUNCTION, causality="top-left") == [[T, F, F], [T, T, F], [T, T, T]]
    assert masked(FUNCTION, {**SELF, "allow": ALLOW}) == [[T, F, T]]
    assert masked(inputs={**SELF, "block": ALLOW}) == [[T, F, T]]


def test_everything_that_hides_a_key_is_in_one_mask():
    assert masked() is None
    assert masked(window=2) == [[F, F, T], [F, F, F], [T, F, F]]
    assert masked(causality="top-left", window=2, inputs={**SELF, "block": ALLOW}) == [
        [T, T, T],
        [T, F, T],
        [T, F, T],
    ]
    assert masked(causality="top-left", inputs={**SELF, "bias": BIAS}) == [
        [1, INF, INF],
        [1, 2, INF],
        [1, 2, 3],
    ]


def test_queries_stand_where_the_case_says():
    assert masked(causality="lower-right", first_position=2, inputs=CROSS)[0] == [F, F, F, T, T]
    cache = {"past_key": torch.zeros(2, 1, 1, 4)}
    assert masked(causality="top-left", first_position=1, inputs={**SELF, **cache}) == [
        [F, F, T, T],
        [F, F, F, T],
        [F, F, F, F],
    ]


def test_the_queries_of_sequence_first_come_first():
    x = torch.zeros(3, 2, 4)
    first = masked(causality="top-left", input_layout="sequence-first", inputs=dict.fromkeys(SELF, x))
    assert first == masked(causality="top-left")


def test_padding_is_float_beside_a_float_mask():
    padding = torch.tensor([[F, F, T]])

    def both(**inputs: Tensor) -> Tensor:
        inputs = {**SELF, "padding": padding, **inputs}
        return given(lambda x, attn_mask, key_padding_mask: x, asked(), inputs)["key_padding_mask"]

    assert both().tolist() == padding.tolist()
    assert both(bias=BIAS).tolist() == [[0, 0, INF]]


def test_a_state_dict_is_loaded_strictly_without_its_prefix():
    config = {"causality": "none", "window": None, "scale": 1, "need_weights": None, "prefix": "module."}
    arrays = dict.fromkeys(SELF, np.float32([[1, 2]]))

    def run(state: dict) -> np.ndarray:
        made = torch.nn.Linear(2, 2, bias=False)
        return compute(lambda config: made, LAYER, config=config, state_dict=state, **arrays)

    weight = np.float32([[0, 3], [5, 0]])
    assert run({"module.weight": weight}).tolist() == [[6, 5]]
    with pytest.raises(RuntimeError, match=r'Unexpected key.*"bias"'):
        run({"module.weight": weight, "module.bias": weight[0]})
    with pytest.raises(RuntimeError, match=r'Missing key.*"weight"'):
        run({})


def test_a_factory_of_something_else_is_an_error():
    with pytest.raises(TypeError, match="the factory returns None, want"):
        compute(lambda config: None, "module", config={"module": "a.B"})


def test_dropout_is_off_and_no_gradient_is_kept():
    x = np.ones((2, 3), np.float32)
    made = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Identity())
    output, inside = compute(lambda config: made, "module", config={"module": "Sequential"}, input=x)
    assert output.tolist() == x.tolist()
    assert inside == {}  # both modules return their input


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        (
            "torch_modules.py",
            "'torch_modules.py': want FILE.py:FACTORY, package.module:FACTORY, transformers:CLASS "
            "or a folder",
        ),
        ("missing.py:make", "missing.py: no such file"),
        (f"{MODULES}:missing", f"{MODULES} has no function or class missing"),
    ],
)
def test_a_target_that_is_none_is_refused(target, problem):
    result = python("-m", "pyref", "serve", target)
    assert (result.returncode, result.stderr) == (1, f"pyref: {problem}\n")
