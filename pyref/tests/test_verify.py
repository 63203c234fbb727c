"""PyTorch's results take the place of an oracle's truth where the two agree, and only there."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pyref.build import verify
from pyref.build.environment import PYTHON
from pyref.ops import formula

FIXTURES = Path(__file__).parents[2] / "fixtures"
CASES = [
    "sdpa/causal-lower-right",
    "sdpa/float-mask",
    "sdpa/bfloat16-gqa",
    "sdpa/sinks-window-gqa",
    "mha/causal-left-padding",
    "decoder/rope-half",
    "decoder/softcap-alibi",
    "decoder/qwen-biases",
]


def by_oracle(folder: Path, name: str, shift: float = 0) -> Path:
    """Copy a case as if the oracle had made it, with one element of the truth moved by `shift`."""
    shutil.copytree(FIXTURES / name, folder / name)
    file = folder / name / "case.json"
    case = json.loads(file.read_text())
    case["provenance"] |= {"torch": verify.BY_ORACLE, "torch_git": "", "function": "difftest new"}
    place = folder / name / case["expected"]["truth"]
    truth = np.load(place)
    truth.flat[3] += shift
    np.save(place, truth)
    sha256 = hashlib.sha256(place.read_bytes()).hexdigest()
    case["files"][case["expected"]["truth"]]["sha256"] = sha256
    file.write_text(json.dumps(case))
    return folder / name


@pytest.mark.parametrize("name", CASES)
def test_pytorch_fills_in_the_results_of_the_suite(tmp_path, name):
    folder = by_oracle(tmp_path, name)
    assert list(verify.cases(tmp_path)) == [folder]
    verify.verify(folder)
    assert list(verify.cases(tmp_path)) == []
    was, now = (json.loads((root / name / "case.json").read_text()) for root in (FIXTURES, tmp_path))
    assert now["provenance"]["python"] == PYTHON
    for field in ("name", "purpose", "op", "config", "inputs", "expected", "files"):
        assert now[field] == was[field], field
    assert sorted(p.name for p in folder.parent.iterdir()) == [folder.name]


def test_a_truth_that_differs_is_refused_and_stays(tmp_path):
    folder = by_oracle(tmp_path, "sdpa/causal-lower-right", shift=1e-9)
    before = {file: file.read_bytes() for file in folder.rglob("*.*")}
    with pytest.raises(ValueError, match=r"the oracle's truth is .*e-.* away from pytorch's float64"):
        verify.verify(folder)
    assert {file: file.read_bytes() for file in folder.rglob("*.*")} == before
    assert sorted(p.name for p in folder.parent.iterdir()) == [folder.name]


# Combinations of options that no call of PyTorch has.
COMBINATIONS = [
    "--mask=bool --window=3",
    "--mask=additive --softcap=1.5 --alibi --kv-heads=2",
    "--mask=additive --past=3 --keys=9 --precision=float64",
    "--mask=padding --sinks --alibi --causal=lower-right",
    "--layer --mask=bool --window=3 --causal --order=sequence-first --rope=half",
    "--layer --mask=additive --sinks --softcap=1.5 --layout=torch-separate --past=2 --keys=9",
    "--cross --keys=5 --alibi --scale=0.3 --layout=torch-separate --order=sequence-first",
]


@pytest.mark.parametrize("flags", COMBINATIONS)
def test_a_formula_verifies_what_no_call_computes(tmp_path, difftest, flags):
    shape = ("--batch=2", "--heads=4", "--head-dim=6")
    difftest.printed("new", "mine/case", "--into", tmp_path, *shape, *flags.split())
    verify.verify(tmp_path / "mine" / "case")
    case = json.loads((tmp_path / "mine" / "case" / "case.json").read_text())
    assert case["provenance"]["function"] == formula.FUNCTION


@pytest.mark.parametrize("name", CASES)
def test_the_formula_computes_what_the_calls_compute(name, monkeypatch):
    case = json.loads((FIXTURES / name / "case.json").read_text())
    inputs = verify.load(FIXTURES / name, case["inputs"])
    parameters = verify.load(FIXTURES / name, case.get("state_dict", {}))
    monkeypatch.setattr(verify, "ScaledDotProductAttention", formula.FunctionByFormula)
    monkeypatch.setattr(verify, "DecoderAttention", formula.LayerByFormula)
    operation = verify.operation_of(case, inputs)
    truth = np.load(FIXTURES / name / case["expected"]["truth"])
    verify.compare(truth, operation.forward(inputs, parameters, "float64")["output"])


def test_the_graph_of_a_model_is_verified(tmp_path):
    folder = by_oracle(tmp_path, "models/gpt2")
    before = {file: file.read_bytes() for file in folder.rglob("*.*")}
    verify.verify(folder)
    assert {file: file.read_bytes() for file in folder.rglob("*.*")} == before
    shutil.rmtree(folder)
    with pytest.raises(ValueError, match="away from pytorch's float64 result"):
        verify.verify(by_oracle(tmp_path, "models/gpt2", shift=1e-6))
