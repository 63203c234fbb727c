"""Rotary positions agree with the paper, Hugging Face and Meta."""

import numpy as np
import pytest

from pyref.build.pinned_torch import torch
from pyref.build.rng import Stream
from pyref.ops.rope import Rope, interleaved_to_half


def heads(T: int, E: int, name: str = "x") -> torch.Tensor:
    """Return (2, 3, T, E) in float64."""
    return torch.from_numpy(Stream(1).normal(name, (2, 3, T, E)).astype(np.float64))


def close(got: torch.Tensor, want: torch.Tensor, tolerance: float = 1e-14) -> bool:
    """Report whether the largest difference is within a tolerance."""
    return bool((got - want).abs().max() <= tolerance)


@pytest.mark.parametrize("style", ["half", "interleaved"])
@pytest.mark.parametrize(("dim", "base", "factor"), [(10, 10000, 1), (6, 100, 2)])
def test_rotary_scores_depend_on_distance_alone(style, dim, base, factor):
    rope, q, k = Rope(style=style, dim=dim, base=base, factor=factor), heads(5, 10, "q"), heads(5, 10, "k")

    def scores(query: int, key: int) -> torch.Tensor:
        return rope.rotate(q, query) @ rope.rotate(k, key).mT

    assert close(scores(10, 8), scores(2, 0))
    assert not close(scores(2, 1), scores(2, 0), 0.01)


def test_half_is_the_formula_of_hugging_face():
    """`apply_rotary_pos_emb` of transformers is x cos + rotate_half(x) sin with repeated angles."""
    x, dim = heads(5, 10), 10
    inverse = 1.0 / (10000 ** (torch.arange(0, dim, 2, dtype=torch.float64) / dim))
    angles = torch.cat([torch.arange(3, 8, dtype=torch.float64)[:, None] * inverse] * 2, dim=-1)
    rotated_half = torch.cat([-x[..., dim // 2 :], x[..., : dim // 2]], dim=-1)
    want = x * angles.cos() + rotated_half * angles.sin()
    assert close(Rope(dim=10).rotate(x, first=3), want)


def test_interleaved_is_the_formula_of_meta():
    """`apply_rotary_emb` of Llama multiplies a pair, as a complex number, by e^(i angle)."""
    x, dim = heads(5, 10), 10
    inverse = 1.0 / (10000 ** (torch.arange(0, dim, 2, dtype=torch.float64) / dim))
    angles = torch.outer(torch.arange(3, 8, dtype=torch.float64), inverse)
    turns = torch.polar(torch.ones_like(angles), angles)
    want = torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (-1, 2))) * turns).flatten(-2)
    assert close(Rope(style="interleaved", dim=10).rotate(x, first=3), want)


@pytest.mark.parametrize("style", ["half", "interleaved"])
def test_a_partial_rotation_is_the_whole_one_of_the_first_features(style):
    x = heads(5, 10)
    partial = Rope(style=style, dim=6).rotate(x, first=3)
    assert torch.equal(partial[..., :6], Rope(style=style, dim=6).rotate(x[..., :6], first=3))
    assert torch.equal(partial[..., 6:], x[..., 6:])
    assert not torch.equal(partial[..., :6], x[..., :6])


def test_a_factor_divides_positions():
    x = heads(1, 10)
    assert torch.equal(Rope(dim=10, factor=2).rotate(x, first=6), Rope(dim=10).rotate(x, first=3))


def test_the_first_position_is_not_rotated():
    assert torch.equal(Rope(dim=10).rotate(heads(1, 10), first=0), heads(1, 10))


def test_the_order_of_rows_is_hugging_faces():
    """`permute` of convert_llama_weights_to_hf.py takes even rows of a head, then odd ones."""
    reordered = interleaved_to_half(np.arange(12)[:, None], num_heads=2).ravel()
    assert reordered.tolist() == [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]
