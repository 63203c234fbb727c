"""Tiny models of classes that look like Hugging Face's, which need not be installed."""

import json
import subprocess
import sys

import numpy as np
import pytest

from pyref.build.pinned_torch import torch
from pyref.capture import target, tiny
from pyref.tests.support import ROOT

MODELS = """
import torch

class Config:
    attribute_map = {"width": "hidden_size"}
    sub_configs = {}

    def __init__(self, vocab_size=32000, hidden_size=4096, num_hidden_layers=32, layer_types=None,
                 pad_token_id=None, attn_logit_softcapping=None, type_vocab_size=2):
        self.vocab_size, self.hidden_size = vocab_size, hidden_size
        self.num_hidden_layers, both = num_hidden_layers, ["sliding_attention", "full_attention"]
        self.layer_types = layer_types or both * (num_hidden_layers // 2)
        self.pad_token_id, self.attn_logit_softcapping = pad_token_id, attn_logit_softcapping
        self.type_vocab_size = type_vocab_size
        if hidden_size % 2:
            raise ValueError("hidden_size must\\n be even")

    def to_dict(self):
        return dict(vars(self))

class Model(torch.nn.Module):
    config_class = Config

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embed = torch.nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = torch.nn.ModuleList(
            torch.nn.Linear(config.hidden_size, config.hidden_size) for _ in config.layer_types)

    @classmethod
    def _from_config(cls, config, attn_implementation="sdpa"):
        model = cls(config)
        model.implementation = attn_implementation
        return model

    from_pretrained = None

    def forward(self, input_ids, attention_mask=None, token_type_ids=None, use_cache=None):
        hidden = self.embed(input_ids) * attention_mask[..., None] + token_type_ids[..., None]
        for layer in self.layers:
            hidden = hidden + layer(hidden)
        return {"hidden": hidden}
"""


@pytest.fixture
def kind() -> type:
    """Return the class of models."""
    made: dict = {}
    exec(MODELS, made)
    return made["Model"]


def test_a_tiny_model_has_tokens_of_which_some_are_padding(kind):
    assert tiny.is_model_class(kind)
    assert not tiny.is_model_class(torch.nn.Linear)
    model, inputs = tiny.make(kind, {})
    config = model.config
    assert (config.vocab_size, config.hidden_size, config.num_hidden_layers) == (97, 48, 3)
    assert config.layer_types == ["sliding_attention", "full_attention", "sliding_attention"]
    assert model.implementation == "sdpa"
    assert inputs["input_ids"].shape == inputs["attention_mask"].shape == (2, 12)
    assert inputs["attention_mask"].sum(1).tolist() == [9, 12]
    assert (inputs["input_ids"][0, 9:] == 0).all()
    assert inputs["input_ids"][1].min() >= 3
    assert inputs["token_type_ids"].unique().tolist() == [0, 1]
    assert inputs["use_cache"] is False
    again, _ = tiny.make(kind, {})
    assert torch.equal(again.embed.weight, model.embed.weight)


def test_settings_come_on_top_of_the_tiny_sizes(kind):
    settings = {
        "hidden_size": 10,
        "num_hidden_layers": 2,
        "attn_logit_softcapping": 5.0,
        "type_vocab_size": 1,
    }
    model, inputs = tiny.make(kind, settings)
    assert (model.config.hidden_size, len(model.layers), model.implementation) == (10, 2, "eager")
    assert "token_type_ids" not in inputs
    with pytest.raises(ValueError, match=r"Model: no tiny model of this class: .* hidden_size must be even$"):
        tiny.make(kind, {"hidden_size": 11})
    with pytest.raises(ValueError, match=r"Model: no tiny model of this class: TypeError: .*'heads'"):
        tiny.make(kind, {"heads": 11})


def run(*arguments: str, cwd) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "pyref", "capture", *arguments],
        cwd=cwd,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


def test_the_command_captures_a_class_with_shaken_weights(tmp_path):
    (tmp_path / "zoo.py").write_text(MODELS)
    result = run("zoo:Model", "--name", "zoo/model", "--config", '{"hidden_size": 20}', cwd=tmp_path)
    assert result.stdout == "cases/zoo/model\n", result.stderr
    assert result.stderr.splitlines() == [
        "pyref: 3 of 24 rows of the output are padded by attention_mask and are not judged",
        "pyref: attention_mask changes no row that is judged: a program that ignores it passes: "
        "pad on the left",
        "pyref: this case cannot see everything: 3 layers: a program that sorts their names as text passes: "
        "a lexicographic order needs 11",
        "pyref: this case cannot see everything: square: layers.0.weight, layers.1.weight, layers.2.weight: "
        "their shapes do not tell a program to transpose them",
    ]
    said = json.loads((tmp_path / "cases/zoo/model/case.json").read_text())
    assert said["purpose"] == "zoo.Model, captured, with parameters drawn by chance from seed 0."
    assert set(said["graph"]) == {"sha256"}
    assert (np.load(tmp_path / "cases/zoo/model" / said["state_dict"]["layers.0.bias"]) != 0).all()


@pytest.mark.parametrize(
    ("name", "settings", "problem"),
    [
        ("transformers:LlamaForCausalLM", None, "transformers is not installed: pip install transformers$"),
        ("zoo.py:torch", {}, "zoo.py has no function or class torch$"),
        ("folder", None, "folder: transformers is not installed: pip install transformers$"),
        ("folder", {}, "folder: no class of Hugging Face models, so --config has no meaning$"),
    ],
)
def test_a_target_that_is_no_model_says_why(name, settings, problem, tmp_path, monkeypatch):
    (tmp_path / "zoo.py").write_text(MODELS)
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "transformers", None)  # as if it were not installed
    with pytest.raises(ValueError, match=problem):
        target.load(name, settings)


def test_settings_are_an_object_of_json(tmp_path):
    (tmp_path / "zoo.py").write_text(MODELS)
    result = run("zoo:Model", "--name", "zoo/model", "--config", "[1]", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (1, "pyref: --config: want an object of JSON\n")
