"""Rows of padded tokens: found by what the module computes, never by the name of an argument."""

import json
from pathlib import Path

import numpy as np
import pytest

from pyref.build.pinned_torch import torch
from pyref.capture import capture, padding
from pyref.capture.call import Call

Tensor = torch.Tensor
TOKENS, WIDTH = 6, 8


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(11)


class Attention(torch.nn.Module):
    """Attention over tokens, whose mask is 1 for tokens that count."""

    def __init__(
        self, causal: bool = False, padding_is: int = 0, pooled: bool = False, ignores: bool = False
    ):
        super().__init__()
        self.embed, self.linear = torch.nn.Embedding(20, WIDTH), torch.nn.Linear(WIDTH, 3 * WIDTH)
        self.causal, self.padding_is, self.pooled, self.ignores = causal, padding_is, pooled, ignores

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the tokens after one layer of attention, or their mean."""
        x = self.embed(input_ids)
        query, key, value = self.linear(x).chunk(3, dim=-1)
        scores = query @ key.mT
        if not self.ignores:
            scores = scores.masked_fill((attention_mask == self.padding_is)[:, None], -1e9)
        if self.causal:
            scores = scores + torch.full((TOKENS, TOKENS), -1e9).triu(1)
        x = x + scores.softmax(-1) @ value
        weight = (attention_mask != self.padding_is)[..., None].to(x.dtype)
        return (x * weight).sum(1) / weight.sum(1) if self.pooled else x


def ids() -> Tensor:
    return torch.randint(0, 20, (2, TOKENS))


def mask(hidden: slice, padding_is: int = 0) -> Tensor:
    """Return a mask that hides some places of row 1."""
    made = torch.full((2, TOKENS), 1 - padding_is)
    made[1, hidden] = padding_is
    return made


def rows_of(module: torch.nn.Module, *inputs: Tensor) -> dict[str, list]:
    """Return the places of padded rows by mask."""
    found = padding.rows("t", module.eval(), Call.of(module, inputs))
    return {name: np.argwhere(rows).tolist() for name, rows in found.items()}


RIGHT, LEFT = slice(4, None), slice(2)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("hidden", [RIGHT, LEFT], ids=["right", "left"])
@pytest.mark.parametrize("padding_is", [0, 1])
def test_padded_rows_are_found_whatever_true_means(causal, hidden, padding_is):
    made = mask(hidden, padding_is)
    found = rows_of(Attention(causal, padding_is), ids(), made)
    assert found == {"attention_mask": np.argwhere(made.numpy() == padding_is).tolist()}


def test_rows_that_the_tokens_do_not_reach_are_judged():
    # Nothing hides the tokens, so other rows depend on them.
    assert not rows_of(Attention(ignores=True), ids(), mask(RIGHT))
    # The output has no row for each token.
    assert not padding.padded(
        "t", Attention(pooled=True).eval(), Call.of(Attention(), (ids(), mask(RIGHT)))
    ).of(np.zeros((2, WIDTH)))
    assert not rows_of(Attention(), ids(), mask(slice(0)))  # nothing is hidden


class Mean(Attention):
    """The mean of all tokens, padded ones too."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return one row for each sequence."""
        return super().forward(input_ids, attention_mask).mean(1)


def test_a_mean_over_padded_tokens_marks_none():
    assert not rows_of(Mean(), ids(), mask(RIGHT))


class Decoder(torch.nn.Module):
    """Tokens that attend to other, padded tokens of the same number."""

    def __init__(self):
        super().__init__()
        self.encoder, self.embed = Attention(), torch.nn.Embedding(20, WIDTH)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, decoder_input_ids: Tensor) -> Tensor:
        """Return the decoder's tokens."""
        memory = self.encoder(input_ids, attention_mask)
        x = self.embed(decoder_input_ids)
        scores = (x @ memory.mT).masked_fill(attention_mask[:, None] == 0, -1e9)
        return x + scores.softmax(-1) @ memory


def test_a_decoders_rows_are_judged_behind_a_padded_encoder():
    # The mask has the shape of the output, whose rows belong to other tokens.
    assert not rows_of(Decoder(), ids(), mask(RIGHT), ids())
    # Otherwise the encoder's rows are marked, and no row of the output.
    module = Decoder().eval()
    marked = padding.padded("t", module, Call.of(module, (ids(), mask(RIGHT), ids()[:, :4])))
    assert np.argwhere(marked.rows["attention_mask"]).tolist() == [[1, 4], [1, 5]]
    assert marked.of(np.zeros((2, 4, WIDTH))) is None


@pytest.mark.parametrize("batch_first", [False, True])
def test_a_padded_encoder_layer_in_both_orders(batch_first):
    layer = torch.nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=batch_first).eval()
    source = torch.randn(*((3, TOKENS) if batch_first else (TOKENS, 3)), WIDTH)
    hidden = torch.zeros(3, TOKENS, dtype=torch.bool)
    hidden[2, 4:] = True
    found = padding.rows("t", layer, Call.of(layer, {"src": source, "src_key_padding_mask": hidden}))
    expected = hidden if batch_first else hidden.T
    assert np.array_equal(found["src_key_padding_mask"], expected)


class Scores(torch.nn.Module):
    """Attention over states, with a mask for each query and key."""

    def forward(self, hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the states after attention."""
        scores = hidden_states @ hidden_states.mT + attention_mask[:, 0]
        return scores.softmax(-1) @ hidden_states


def test_a_mask_of_scores_hides_the_keys_of_padded_tokens():
    added = torch.zeros(2, 1, TOKENS, TOKENS)
    added[1, :, :, 4:] = torch.finfo(torch.float32).min
    assert rows_of(Scores(), torch.randn(2, TOKENS, WIDTH), added) == {"attention_mask": [[1, 4], [1, 5]]}


class Switched(torch.nn.Module):
    """Attention with two implementations, as Hugging Face's models have."""

    def __init__(self):
        super().__init__()
        self.config = type("Config", (), {"_attn_implementation": "eager"})()

    def forward(self, hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the states after attention. A query without keys gets the mean, or zeros."""
        weights = (hidden_states @ hidden_states.mT + attention_mask).softmax(-1)
        if self.config._attn_implementation == "sdpa":
            weights = weights * (attention_mask > -1).any(-1, keepdim=True)
        return weights @ hidden_states


def test_queries_without_keys_are_marked_where_two_implementations_differ():
    added = torch.zeros(2, TOKENS, TOKENS)
    added[1, 3] = -1e9  # its key is seen
    states = torch.randn(2, TOKENS, WIDTH)
    module = Switched()
    assert rows_of(module, states, added) == {"attention_mask": [[1, 3]]}
    assert module.config._attn_implementation == "eager"
    module.config._attn_implementation = "flash"
    assert not rows_of(module, states, added)


def test_what_a_case_says_about_padding(tmp_path):
    said: list[str] = []
    folder = capture(Attention().eval(), (ids(), mask(RIGHT)), "a/b", tmp_path, say=said.append)
    assert said == ["2 of 12 rows of the output are padded by attention_mask and are not judged"]
    assert np.load(folder / "padded" / "attention_mask.npy").tolist() == (mask(RIGHT) == 0).tolist()
    assert json.loads((folder / "case.json").read_text())["padded"] == {
        "attention_mask": "padded/attention_mask.npy"
    }


@pytest.mark.parametrize(("hidden", "sees"), [(RIGHT, False), (LEFT, True)], ids=["right", "left"])
def test_a_mask_that_changes_no_judged_row_is_said(tmp_path, hidden, sees):
    said: list[str] = []
    capture(Attention(causal=True).eval(), (ids(), mask(hidden)), "a/b", tmp_path, say=said.append)
    unseen = [line for line in said if "changes no row that is judged" in line]
    assert len(unseen) == (0 if sees else 1)


class Empty(torch.nn.Module):
    """Attention that gives NaN to a query without keys."""

    def forward(self, hidden_states: Tensor, mask: Tensor) -> Tensor:
        """Return the states after attention among the tokens of one sort."""
        scores = hidden_states @ hidden_states.mT
        hidden = (mask == 0)[:, None] | (mask == 0)[..., None]
        return (
            scores.masked_fill(hidden, -torch.inf).softmax(-1)
            @ hidden_states.masked_fill((mask == 0)[..., None], 0)
            + hidden_states
        )


def test_padded_rows_may_be_nan(tmp_path):
    folder = capture(Empty(), (torch.randn(2, TOKENS, WIDTH), mask(RIGHT)), "a/b", tmp_path)
    truth, sigma = (np.load(folder / "expected" / f"{name}.npy") for name in ("truth", "sigma"))
    assert not truth[1, 4:].any() and not sigma[1, 4:].any()
    assert (sigma[0] > 0).all() and (sigma[1, :4] > 0).all()


class Logits(Attention):
    """A number for each token, as the start of an answer has."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return one number for each token."""
        return super().forward(input_ids, attention_mask)[..., 0]


def test_padded_elements_count_in_no_noise(tmp_path):
    module = Logits().eval()
    first = capture(module, (ids(), mask(RIGHT)), "a/b", tmp_path, say=print)
    sigma, padded = (np.load(first / path) for path in ("expected/sigma.npy", "padded/attention_mask.npy"))
    marked = padding.Padded({"attention_mask": padded})
    variance = np.ones((2, TOKENS))
    variance[padded] = 1e6
    assert np.allclose(marked.deviation(variance)[~padded], np.sqrt(2))
    assert Path(first).is_dir() and sigma.shape == padded.shape
