"""The models of the zoo show mistakes, and no expert is chosen by a hair's breadth."""

import json

import pytest

from pyref import zoo
from pyref.build.pinned_torch import torch
from pyref.tests.support import FIXTURES
from pyref.zoo import store
from pyref.zoo.experts import SigmoidRouter, SoftmaxRouter
from pyref.zoo.sparse import GptOssRouter, GroupedRouter

ROUTERS = (SigmoidRouter, SoftmaxRouter, GptOssRouter, GroupedRouter)

each_model = pytest.mark.parametrize("name", zoo.CASES)


def shaken(name: str) -> torch.nn.Module:
    """Return a model as its case has it."""
    model = zoo.CASES[name]().eval()
    store.shake(model, store.stream_of(name))
    return model


@each_model
def test_no_parameter_hides_a_mistake(name):
    for key, tensor in shaken(name).state_dict().items():
        if tensor.is_floating_point():
            assert tensor.unique().numel() > tensor.numel() // 2, key
            assert not (tensor == 0).any() and not (tensor == 1).any(), key


@pytest.mark.parametrize("name", [name for name in zoo.CASES if name.startswith("models/")])
def test_the_settings_are_in_the_case(name):
    case = json.loads((FIXTURES / name / "case.json").read_text())
    assert case["config"]["settings"] == json.loads(json.dumps(shaken(name).config))
    assert case["config"]["module"].endswith(type(shaken(name)).__name__)


@each_model
def test_tokens_are_padded_and_repeat(name):
    inputs = store.inputs(name, store.stream_of(name))
    if "input_ids" in inputs:
        ids = inputs["input_ids"]
        assert any(row.unique().numel() < row.numel() for row in ids)
        assert ids.unique().numel() < store.VOCABULARY
    if "attention_mask" in inputs:
        mask = inputs["attention_mask"]
        lengths = mask.sum(dim=1).tolist()
        assert len(set(lengths)) == 3
        assert lengths[0] < mask.shape[1]


@each_model
def test_every_case_has_a_graph(name):
    assert (FIXTURES / name / "graph.json").exists()


@pytest.mark.parametrize("name", [name for name in zoo.CASES if "moe" in name or "experts" in name])
@torch.no_grad()
def test_the_choice_of_experts_is_clear(name):
    gaps = []

    def keep(router: torch.nn.Module, arguments: tuple[torch.Tensor]) -> None:
        logits = torch.nn.functional.linear(arguments[0], router.weight, getattr(router, "bias", None))
        scores = torch.softmax(logits, dim=-1)
        if hasattr(router, "e_score_correction_bias"):
            scores = torch.sigmoid(logits) + router.e_score_correction_bias
        ordered = scores.sort(dim=-1, descending=True).values
        if not hasattr(router, "groups"):
            gaps.append((ordered[:, router.chosen - 1] - ordered[:, router.chosen]).min().item())
        else:
            gaps.append((ordered[:, 1:] - ordered[:, :-1]).abs().min().item())

    model = shaken(name)
    for module in model.modules():
        if isinstance(module, ROUTERS):
            module.register_forward_pre_hook(keep)
    model(**store.inputs(name, store.stream_of(name)))
    assert gaps
    assert min(gaps) > 1e-5
