"""Results of several tensors: a case for each, whose inputs and parameters are the same files."""

import json

import pytest

from pyref.build.pinned_torch import torch
from pyref.capture.outputs import capture_outputs, several

Tensor = torch.Tensor


class Several(torch.nn.Module):
    """A module with logits, a pooled state, and a cache."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 6)

    def forward(self, x: Tensor) -> dict:
        """Return nested outputs, one of them under two names, and one of integers."""
        y = self.linear(x)
        return {
            "logits": y,
            "pooler_output": y.mean(1).tanh(),
            "past": ((y * 2, y * 3),),
            "again": y,
            "ids": y.argmax(-1),
        }


def inputs() -> Tensor:
    return torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(3))


def test_a_case_for_each_output(tmp_path):
    captured = capture_outputs(Several().eval(), inputs(), "*", "a/b", tmp_path)
    names = [folder.relative_to(tmp_path).as_posix() for folder in captured.folders]
    assert names == ["a/b/logits", "a/b/pooler_output", "a/b/past.0.0", "a/b/past.0.1"]
    assert not captured.refused
    cases = [json.loads((folder / "case.json").read_text()) for folder in captured.folders]
    assert [case["config"]["output"] for case in cases] == ["logits", "pooler_output", "past.0.0", "past.0.1"]
    assert all("sha256" in case["graph"] for case in cases)
    shared = [(folder / "state_dict/linear.weight.npy").stat().st_ino for folder in captured.folders]
    assert len(set(shared)) == 1
    assert len({(folder / "expected/truth.npy").stat().st_ino for folder in captured.folders}) == 4


def test_outputs_by_pattern(tmp_path):
    assert several("past.*") and not several("past.0.0")
    captured = capture_outputs(Several().eval(), inputs(), "past.*", "a/b", tmp_path)
    assert [folder.name for folder in captured.folders] == ["past.0.0", "past.0.1"]
    with pytest.raises(ValueError, match=r"no output of floats matches .hidden\*.: there are logits"):
        capture_outputs(Several().eval(), inputs(), "hidden*", "a/b", tmp_path)
    with pytest.raises(ValueError, match="the result is one tensor"):
        capture_outputs(torch.nn.Linear(4, 2).eval(), inputs(), "*", "a/b", tmp_path)


class Nan(Several):
    """One output is not finite."""

    def forward(self, x: Tensor) -> dict:
        """Return a right output and another."""
        y = self.linear(x)
        return {"good": y, "bad": y / 0}


def test_an_output_that_cannot_be_captured_does_not_stop_the_others(tmp_path):
    captured = capture_outputs(Nan().eval(), inputs(), "*", "a/b", tmp_path)
    assert [folder.name for folder in captured.folders] == ["good"]
    assert "not finite" in captured.refused["a/b/bad"]
