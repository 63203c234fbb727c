"""The first wrong module of a model is found by the outputs of its modules, and named."""

import copy
from pathlib import Path

import numpy as np
import pytest

from pyref.build.pinned_torch import torch
from pyref.models import store
from pyref.tests.support import REGENERATE, ROOT
from pyref.trace import traced

SUITE = ROOT / "harness" / "internal" / "edits" / "testdata" / "models"


def result(difftest, name: str, model: torch.nn.Module, folder: Path) -> dict:
    """Run a model, write its output and the outputs of its modules, and return the verdict."""
    case = folder / name
    case.mkdir(parents=True)
    with torch.no_grad(), traced(model, case / "output"):
        output = model(**store.inputs())
    np.save(case / "output.npy", output.numpy())
    report = difftest.report("check", folder, "--fixtures", SUITE, "--case", name)
    return report["results"][0]


def shaken(name: str) -> tuple[torch.nn.Module, dict]:
    model, mistakes = store.models()[name]
    store.shake(model, store.Stream(len(name)))
    return model.eval(), mistakes


@pytest.mark.parametrize("name", ["llama", "gemma", "bert"])
def test_a_right_model_has_no_wrong_module(name, difftest, tmp_path):
    verdict = result(difftest, name, shaken(name)[0], tmp_path)
    assert verdict["verdict"] == "pass"
    assert "first" not in verdict["trace"]
    assert len(verdict["trace"]["modules"]) > 20
    assert not [module for module in verdict["trace"]["modules"] if not (module["ok"] or "problem" in module)]


def in_one_layer(name: str) -> list[tuple[str, torch.nn.Module]]:
    """Return the model with each mistake that can be made in its second layer alone."""
    made = []
    for identity, plant in shaken(name)[1].items():
        model = copy.deepcopy(shaken(name)[0])
        try:
            plant(model.layers[1])
        except (AttributeError, TypeError):
            continue  # the mistake is about the whole model
        made.append((identity, model))
    return made


@pytest.mark.parametrize("name", ["llama", "gemma", "bert"])
def test_the_first_wrong_module_stands_in_the_layer_of_the_mistake(name, difftest, tmp_path):
    seen = named = 0
    for identity, model in in_one_layer(name):
        verdict = result(difftest, name, model, tmp_path / identity)
        first = verdict["trace"].get("first")
        if first is None:
            assert verdict["verdict"] == "pass"  # the plant found nothing in the layer
            continue
        seen += 1
        assert first.startswith("layers.1"), identity
        names = [match["id"] for match in verdict["trace"]["matches"]]
        right = {identity, IN_ATTENTION.get(identity)}
        assert right & set(names) or not names, (identity, names)
        named += bool(right & set(names))
    assert seen >= 4
    assert named >= 0.75 * seen


# Mistakes in models that are reported as mistakes of attention.
IN_ATTENTION = {
    "model-scale-missing": "scale-missing",
    "model-scale-by-size": "scale-twice",
    "model-scale-by-root": "scale-default",
    "model-softcap-missing": "softcap-missing",
    "model-causal-missing": "causal-missing",
    "model-causal-added": "causal-added",
    "model-padding-ignored": "padding-ignored",
    "model-window-missing": "window-missing",
    "model-query-key-exchanged": "query-key-swapped",
    "model-key-value-exchanged": "key-value-swapped",
    "model-kv-heads-tiled": "kv-heads-tiled",
    "model-heads-not-merged": "heads-merge-untransposed",
    "model-rotary-missing": "rope-missing",
    "model-rotary-reversed": "rope-backwards",
    "model-rotary-interleaved": "rope-other-style",
    "model-rotary-query-alone": "rope-query-only",
    "model-rotary-key-alone": "rope-key-only",
    "attention-bias-missing": "biases-missing",
    "linear-transposed": "weights-transposed",
}

CHILD = """
from pyref.models import store

def make(config):
    model, mistakes = store.models()["llama"]
    mistakes["activation-relu"](model.layers[2])
    return model
"""


@pytest.mark.parametrize("once", [(), ("--once",)])
def test_a_served_model_is_traced(once, difftest, tmp_path):
    (tmp_path / "child.py").write_text(CHILD)
    serve = (REGENERATE, "--run", "-m", "pyref", "serve", f"{tmp_path / 'child.py'}:make")
    report = difftest.report("--fixtures", SUITE, "--case", "llama", *once, "--", *serve)
    trace = report["results"][0]["trace"]
    assert trace["first"] == "layers.2.mlp.act"
    assert [match["id"] for match in trace["matches"]] == ["activation-relu"]
