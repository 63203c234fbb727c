"""The graph of a captured module is stored, computes the module again, and gives reasons if not."""

import json
from pathlib import Path

import numpy as np
import pytest

from pyref.build.pinned_torch import torch
from pyref.capture import capture
from pyref.capture.graph import samples
from pyref.capture.graph.node import Node
from pyref.capture.graph.rules.pattern import N, Op, X, match
from pyref.models import planted, store
from pyref.tests.support import ROOT

TESTDATA = ROOT / "harness" / "internal"


class Spectrum(torch.nn.Module):
    """x to the size of its Fourier transform, which graphs have no operator for."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the absolute values of the transform."""
        return torch.fft.fft(x).abs()


def graph_of(folder: Path) -> dict:
    case = json.loads((folder / "case.json").read_text())
    return case["graph"]


def test_a_module_without_an_operator_gives_the_reason(tmp_path):
    folder = capture(Spectrum(), {"x": torch.randn(2, 3)}, "mine/spectrum", tmp_path)
    assert "aten." in graph_of(folder)["missing"]
    assert not (folder / "graph.json").exists()


def test_a_graph_lifts_norm_and_attention(tmp_path):
    model = store.models()["llama"][0].eval()
    folder = capture(model, store.inputs(), "mine/llama", tmp_path)
    assert set(graph_of(folder)) == {"sha256"}
    graph = json.loads((folder / "graph.json").read_text())
    count = [node["op"] for node in graph["nodes"]].count
    assert (count("rms_norm"), count("attention"), count("rotary"), count("repeat_interleave")) == (
        7,
        3,
        6,
        6,
    )
    assert graph["nodes"][-1]["module"] == "lm_head"
    assert graph["inputs"] == {"input_ids": "input_ids"}


def test_a_pattern_takes_operands_in_any_order():
    nodes = {"y": Node("y", "mul", (0.5, "x")), "z": Node("z", "sub", ("y", "x"))}
    assert list(match(nodes, "y", Op("mul", X("a"), N("c")), {})) == [{"a": "x", "c": 0.5}]
    assert list(match(nodes, "z", Op("sub", Op("mul", X("a"), 0.5), X("a")), {})) == [{"a": "x"}]
    assert not list(match(nodes, "z", Op("sub", X("a"), X("a")), {}))


def test_the_samples_of_operators_are_todays():
    stored = json.loads((TESTDATA / "graph" / "testdata" / "operators.json").read_text())
    today = [samples.record(*sample) for sample in samples.samples()]
    assert [s["op"] for s in stored] == [s["op"] for s in today]
    for a, b in zip(stored, today, strict=True):
        np.testing.assert_allclose(a["result"]["values"], b["result"]["values"], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["llama", "gemma", "bert"])
def test_the_mistakes_in_models_are_todays(name):
    model, mistakes = store.models()[name]
    store.shake(model, store.Stream(len(name)))
    folder = TESTDATA / "edits" / "testdata"
    assert json.loads((folder / f"{name}.json").read_text()) == list(mistakes)
    stored, right = np.load(folder / f"{name}.npy"), store.wrong(model.eval(), lambda _: None)
    for output, plant in zip(stored, mistakes.values(), strict=True):
        np.testing.assert_allclose(output, store.wrong(model, plant), rtol=1e-4, atol=1e-5)
        assert not np.array_equal(output, right)


def test_a_mistake_changes_a_copy():
    model = store.models()["bert"][0].eval()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    for plant in planted.ENCODER.values():
        store.wrong(model, plant)
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())
