"""The models of the zoo show mistakes, and no expert is chosen by a hair's breadth."""

import json

import pytest

from pyref import zoo
from pyref.build.pinned_torch import torch
from pyref.build.rng import Stream, digest
from pyref.tests.support import FIXTURES
from pyref.zoo import store
from pyref.zoo.experts import SigmoidRouter, SoftmaxRouter

each_model = pytest.mark.parametrize("name", zoo.CASES)


def stream(name: str) -> Stream:
    """Return the random numbers of a case."""
    return Stream(digest(f"{zoo.GROUP}/{name}", 4))


def shaken(name: str) -> torch.nn.Module:
    """Return a model as its case has it."""
    model = zoo.CASES[name]().eval()
    store.shake(model, stream(name))
    return model


@each_model
def test_no_parameter_hides_a_mistake(name):
    for key, tensor in shaken(name).state_dict().items():
        assert tensor.unique().numel() > tensor.numel() // 2, key
        assert not (tensor == 0).any() and not (tensor == 1).any(), key


@each_model
def test_the_settings_are_in_the_case(name):
    case = json.loads((FIXTURES / "models" / name / "case.json").read_text())
    assert case["config"]["settings"] == json.loads(json.dumps(shaken(name).config))
    assert case["config"]["module"].endswith(type(shaken(name)).__name__)


@each_model
def test_tokens_are_padded_and_repeat(name):
    inputs = store.inputs(name, stream(name))
    lengths = inputs["attention_mask"].sum(dim=1).tolist()
    assert len(set(lengths)) == 3
    assert lengths[0] < store.TOKENS
    ids = inputs["input_ids"]
    assert any(row.unique().numel() < store.TOKENS for row in ids)
    assert ids.unique().numel() < store.VOCABULARY


@pytest.mark.parametrize("name", ["moe-softmax", "moe-sigmoid"])
@torch.no_grad()
def test_the_choice_of_experts_is_clear(name):
    model, gaps = shaken(name), []

    def keep(router: torch.nn.Module, arguments: tuple[torch.Tensor]) -> None:
        logits = arguments[0] @ router.weight.T
        scores = torch.softmax(logits, dim=-1)
        if isinstance(router, SigmoidRouter):
            scores = torch.sigmoid(logits) + router.e_score_correction_bias
        ordered = scores.sort(dim=-1, descending=True).values
        gaps.append((ordered[:, router.chosen - 1] - ordered[:, router.chosen]).min().item())

    for module in model.modules():
        if isinstance(module, SoftmaxRouter | SigmoidRouter):
            module.register_forward_pre_hook(keep)
    model(**store.inputs(name, stream(name)))
    assert len(gaps) == 2
    assert min(gaps) > 1e-4
