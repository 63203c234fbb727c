"""What the package does with PyTorch: take tensors, capture modules, trace and serve them."""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy_layer import layer

import difftest
from commands import run

torch = pytest.importorskip("torch")

CASE = difftest.case("seed/causal")
RIGHT, WRONG = layer(CASE), layer(CASE, causal=False)

TENSORS = {
    "a tensor": lambda x: x,
    "requires grad": lambda x: x.requires_grad_(),
    "a parameter": torch.nn.Parameter,
    "not contiguous": lambda x: x.transpose(0, 2).contiguous().transpose(0, 2),
    "expanded and sliced": lambda x: x[:, :, :, None].expand(-1, -1, -1, 3)[..., 1],
    "float64": lambda x: x.double(),
    "negated view": lambda x: torch._neg_view(-x),
    "sparse": lambda x: x.to_sparse(),
    "a list of tensors": list,
    "an output and no weights": lambda x: (x, None),
    "an output and weights": lambda x: (x, torch.ones(4, 12, 12)),
}


@pytest.mark.parametrize("make", TENSORS.values(), ids=TENSORS)
def test_any_tensor_of_floats_is_taken(make):
    assert difftest.check(CASE, make(torch.from_numpy(RIGHT.copy()))).verdict == "pass"
    assert difftest.check(CASE, make(torch.from_numpy(WRONG.copy()))).causes[0].id == "causal-missing"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_tensor_on_a_gpu_is_taken():
    for dtype in (torch.float32, torch.float64):
        output = torch.from_numpy(RIGHT).to("cuda", dtype).requires_grad_()
        assert difftest.check(CASE, output).verdict == "pass"
    half = difftest.check(CASE, torch.from_numpy(RIGHT).cuda().bfloat16())
    assert [cause.id for cause in half.causes] == ["output-bfloat16"]


def test_bfloat16_keeps_its_numbers():
    result = difftest.check(CASE, torch.from_numpy(RIGHT).bfloat16())
    assert (result.kind, [cause.id for cause in result.causes]) == ("rounding", ["output-bfloat16"])


@pytest.mark.parametrize("name", ["sdpa/bfloat16", "sdpa/bfloat16-gqa", "sdpa/float16", "sdpa/causal"])
def test_cases_hold_tensors_of_their_precision(name):
    case = difftest.case(name, arrays="torch")
    inputs, config = case.inputs, case.config
    assert {tensor.dtype for tensor in inputs.values()} == {getattr(torch, case.precision)}
    output = torch.nn.functional.scaled_dot_product_attention(
        **inputs,
        scale=config["scale"],
        is_causal=config["causality"] != "none",
        enable_gqa=config["enable_gqa"],
    )
    difftest.assert_matches(case, output)


@pytest.mark.parametrize(
    "tensor",
    [torch.empty(4, 12, 64, device="meta"), torch.ones(3, dtype=torch.int64), torch.ones(3) * 1j],
    ids=["meta", "int64", "complex"],
)
def test_a_tensor_without_floats_is_one_clear_error(tensor):
    with pytest.raises(TypeError, match=r"^output: "):
        difftest.check(CASE, tensor)


class Gate(torch.nn.Module):
    """A small module, with a mistake as a switch."""

    def __init__(self, relu: bool = False) -> None:
        super().__init__()
        self.up = torch.nn.Linear(16, 64)
        self.down = torch.nn.Linear(32, 16)
        self.activation = torch.nn.ReLU() if relu else torch.nn.SiLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return a gated projection of (B, T, 16)."""
        value, gate = self.up(x).chunk(2, dim=-1)
        return self.down(value * self.activation(gate))


@pytest.fixture(scope="module")
def gate(tmp_path_factory) -> difftest.Case:
    """Return a captured module as a case."""
    torch.manual_seed(3)
    suite = tmp_path_factory.mktemp("suite")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", difftest.CaptureWarning)
        return difftest.capture(Gate().eval(), {"x": torch.randn(3, 5, 16)}, "mine/gate", into=suite, shake=1)


def port(case: difftest.Case, relu: bool = False) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the output of the module in NumPy, and its trace."""
    state, trace = case.state_dict, {}
    trace["up"] = case.inputs["x"] @ state["up.weight"].T + state["up.bias"]
    value, gate = np.split(trace["up"], 2, axis=-1)
    trace["activation"] = np.maximum(gate, 0) if relu else gate / (1 + np.exp(-gate))
    trace["down"] = (value * trace["activation"]) @ state["down.weight"].T + state["down.bias"]
    return trace["down"], trace


def test_a_captured_module_judges_its_port(gate):
    assert (gate.name, gate.op, gate.shape) == ("mine/gate", "module", (3, 5, 16))
    difftest.assert_matches(gate, port(gate)[0])
    difftest.assert_matches("mine/gate", port(gate)[0], suite=gate.suite)
    assert [cause.id for cause in difftest.check(gate, port(gate, relu=True)[0]).causes] == [
        "activation-relu"
    ]


def test_a_trace_finds_the_first_wrong_module(gate):
    output, trace = port(gate, relu=True)
    result = difftest.check(gate, output, trace=trace)
    assert result.report["results"][0]["trace"]["first"] == "activation"
    assert "activation" in result.brief


def test_hooks_record_the_trace_of_a_module(gate):
    case = difftest.case("mine/gate", suite=gate.suite, arrays="torch")
    for relu, first in ((False, None), (True, "activation")):
        module = Gate(relu)
        module.load_state_dict(case.state_dict)
        with difftest.record(module) as trace:
            output = module(**case.inputs)
        assert set(trace) == {"up", "activation", "down"}
        result = difftest.check(case, output, trace=trace)
        assert result.passed is not relu
        assert result.report["results"][0]["trace"].get("first") == first


def test_captures_warn_where_they_are_called(tmp_path):
    module = torch.nn.Linear(4, 4)
    torch.nn.init.zeros_(module.bias)
    with pytest.warns(difftest.CaptureWarning, match="cannot see everything") as caught:
        difftest.capture(module, torch.randn(2, 4), "mine/linear", into=tmp_path)
    assert {warning.filename for warning in caught} == {__file__}


@pytest.mark.filterwarnings("ignore::difftest.CaptureWarning")
def test_every_output_and_every_layer_becomes_a_case(tmp_path):
    class Pair(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = torch.nn.Linear(4, 5), torch.nn.Linear(5, 6)

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            hidden = self.first(x)
            return {"hidden": hidden, "out": self.second(hidden)}

    x = {"x": torch.randn(3, 4)}
    outputs = difftest.capture_outputs(Pair().eval(), x, "mine/pair", into=tmp_path)
    assert [(case.name, case.shape) for case in outputs] == [
        ("mine/pair/hidden", (3, 5)),
        ("mine/pair/out", (3, 6)),
    ]
    layers = difftest.capture_submodules(Pair().eval(), x, "mine/pair", "*", into=tmp_path)
    assert [case.name for case in layers] == ["mine/pair-first", "mine/pair-second"]
    state, x = layers[1].state_dict, next(iter(layers[1].inputs.values()))
    difftest.assert_matches(layers[1], x @ state["weight"].T + state["bias"])


def test_what_cannot_be_captured_is_a_value_error(tmp_path):
    with pytest.raises(ValueError, match="mine/dropout"):
        difftest.capture(torch.nn.Dropout(0.5).train(), torch.randn(3, 4), "mine/dropout", into=tmp_path)


CHILD = """
import sys
import difftest, torch

class Attention(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        if config.op != "scaled_dot_product_attention":
            raise NotImplementedError("only the function")

    def forward(self, query, key, value, attn_mask, scale):
        mask = attn_mask if "right" in sys.argv else None
        attend = torch.nn.functional.scaled_dot_product_attention
        return attend(query, key, value, mask, scale=scale)

if __name__ == "__main__":
    difftest.serve(Attention, name="mine")
"""


def served(folder: Path, *child: str) -> dict:
    """Return the report about a program."""
    (folder / "mine.py").write_text(CHILD)
    cases = ["--case", "sdpa/causal", "--case", "mha/causal"]
    command = [difftest.binary(), "--json", *cases, "--", sys.executable, *child]
    return json.loads(run(*command, cwd=folder).stdout)


def verdicts(report: dict) -> dict[str, str]:
    """Return the verdict on each case."""
    return {result["case"]: result["verdict"] for result in report["results"]}


def test_modules_are_served(tmp_path):
    right = served(tmp_path, "mine.py", "right")
    assert verdicts(right) == {"mha/causal": "skip", "sdpa/causal": "pass"}
    assert right["subject"].startswith("mine")
    assert [cause["id"] for cause in served(tmp_path, "mine.py", "wrong")["causes"]] == ["causal-missing"]


def test_the_command_serves_modules(tmp_path):
    assert verdicts(served(tmp_path, "-m", "difftest", "serve", "mine.py:Attention")) == {
        "mha/causal": "skip",
        "sdpa/causal": "fail",
    }


def test_the_command_captures(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import torch\ndef make():\n    return torch.nn.Linear(4, 5), torch.randn(2, 4)\n"
    )
    command = [sys.executable, "-m", "difftest", "capture", "mine.py:make", "--name", "mine/linear"]
    done = run(*command, cwd=tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, str(Path("cases/mine/linear"))), done.stderr
    bad = run(*command[:4], "none.py:make", *command[5:], cwd=tmp_path)
    assert (bad.returncode, bad.stderr) == (1, "difftest: none.py: no such file\n")


def test_nothing_of_the_package_is_called_pyref(gate):
    assert gate.inputs
    carried = [name for name in sys.modules if name.startswith("difftest._pyref.capture")]
    assert len(carried) > 20
    for name in carried:
        assert sys.modules[name].__file__.startswith(str(Path(difftest.__file__).parent))
