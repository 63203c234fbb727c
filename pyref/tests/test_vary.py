"""The graph of a captured module for other batches and other numbers of tokens."""

import json
from pathlib import Path

import numpy as np
import pytest

from pyref.build.pinned_torch import torch
from pyref.capture import capture
from pyref.capture.graph import sizes

Tensor = torch.Tensor


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(3)


class Attention(torch.nn.Module):
    """Causal attention in a window over tokens with learned positions and padding."""

    def __init__(self, window: int = 3, positions: int = 19) -> None:
        super().__init__()
        self.tokens, self.positions = torch.nn.Embedding(11, 8), torch.nn.Embedding(positions, 8)
        self.qkv, self.window = torch.nn.Linear(8, 24), window
        self.register_buffer("seen", torch.ones(positions, positions).tril().bool())

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return (B, T, 8)."""
        tokens = input_ids.shape[1]
        place = torch.arange(tokens)
        x = self.tokens(input_ids) + self.positions(place)
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        near = place[:, None] - place < self.window
        seen = self.seen[:tokens, :tokens] & near & attention_mask.bool()[:, None]
        scores = (query @ key.transpose(1, 2) / 8**0.5).masked_fill(~seen, -1e30)
        return torch.softmax(scores, dim=-1) @ value


class Scan(torch.nn.Module):
    """A loop over the tokens, which a graph unrolls."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the running maximum of (B, T, C)."""
        rows = [x[:, 0]]
        for i in range(1, x.shape[1]):
            rows.append(torch.maximum(rows[-1], x[:, i]))
        return torch.stack(rows, dim=1)


class Long(torch.nn.Module):
    """Other numbers for sequences of more than 12 tokens, with the same operations."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x times a number."""
        return x * (2.0 if x.shape[1] > 12 else 3.0)


def inputs() -> dict[str, Tensor]:
    """Return three sequences of six tokens, two of them padded."""
    mask = torch.ones(3, 6, dtype=torch.long)
    mask[0, :2], mask[1, 5:] = 0, 0
    return {"input_ids": torch.randint(0, 11, (3, 6)), "attention_mask": mask}


def test_the_shapes_hold_the_graph_and_its_masks(tmp_path: Path):
    folder = capture(Attention().eval(), inputs(), "mine/attention", tmp_path, varies=True)
    shapes = json.loads((folder / "shapes.json").read_text())
    assert (shapes["batch"], shapes["tokens"], shapes["most_tokens"]) == (3, 6, 19)
    assert shapes["inputs"]["input_ids"]["kind"] == "ids"
    mask = shapes["inputs"]["attention_mask"]
    assert (mask["kind"], mask["left"], mask["right"], mask["pads"]) == ("mask", True, True, True)
    assert sizes.at(shapes["graph"], (3, 6)) == json.loads((folder / "graph.json").read_text())
    output = shapes["graph"]["nodes"][-1]["shape"]
    assert output == [{"batch": 1}, {"tokens": 1}, 8]
    stored = json.loads((folder / "case.json").read_text())
    assert set(shapes["made"]["constants"]) < set(stored["constants"])
    assert "seen" in shapes["made"]["parameters"]


def test_a_case_without_vary_has_no_shapes(tmp_path: Path):
    folder = capture(Long(), {"x": torch.randn(3, 6, 4)}, "mine/plain", tmp_path)
    assert not (folder / "shapes.json").exists()


@pytest.mark.parametrize(
    ("module", "arguments", "reason"),
    [
        (Scan(), {"x": torch.randn(3, 6, 4)}, "graph.nodes: .* elements at batch 3, tokens 6"),
        (Long(), {"x": torch.randn(3, 6, 4)}, "at batch 7, tokens 15 the graph's output differs"),
        (Long(), {"x": torch.randn(3, 6, 6)}, "as long as the batch or the tokens"),
        (Long(), {"x": torch.randn(1, 6, 4)}, "at least 2 batch elements and 4 tokens"),
        (torch.nn.Identity(), {"input": torch.randn(6)}, "want inputs"),
        (Attention().eval(), inputs() | {"attention_mask": torch.full((3, 6), 2)}, "ones and zeros"),
    ],
)
def test_a_module_whose_shapes_cannot_vary_gives_the_reason(module, arguments, reason, tmp_path):
    with pytest.raises(ValueError, match=reason):
        capture(module, arguments, "mine/fixed", tmp_path, varies=True)


def test_a_size_is_a_sum_of_multiples():
    shapes = [(2, 5), (3, 5), (2, 6), (3, 6), (5, 3)]
    numbers = [4 * b * t - t + 1 for b, t in shapes]
    assert sizes.joined(numbers, shapes) == {"1": 1, "tokens": -1, "batch*tokens": 4}
    for wrong in (lambda b, t: t * t, lambda b, t: max(t, 4), lambda b, t: t // 2):
        with pytest.raises(sizes.OtherGraph):
            sizes.joined([wrong(b, t) for b, t in shapes], shapes)
    with pytest.raises(sizes.OtherGraph):
        sizes.joined([{"a": 1}, {"b": 1}], shapes[:2])
    assert sizes.at({"shape": [{"batch": 2}, {"tokens": 1, "1": -1}], "attributes": {}}, (3, 7)) == {
        "shape": [6, 6],
        "attributes": {},
    }


def test_arrays_of_other_types_vary():
    a, b = np.zeros(3), np.zeros(3, dtype=np.int64)
    assert sizes.varying([{"x": a, "y": a}, {"x": b, "y": a}]) == ["x"]
