"""The seed layer's two ways to call SDPA give the same output."""

import numpy as np
import pytest

from pyref.build.pinned_torch import torch
from pyref.build.rng import Stream
from pyref.ops import seed
from pyref.ops.seed import SeedAttention

KEYS = ["W_Q", "W_K", "W_V", "W_O"]


def run(heads: str, flag_mask: bool, dtype: torch.dtype) -> np.ndarray:
    """Return the output of a layer (D 64, H 4) with drawn weights on a drawn x (4, 12, 64)."""
    stream = Stream(1)
    layer = SeedAttention(64, 4, flag_mask, heads)
    weights = {name: torch.from_numpy(stream.normal(name, (64, 64), 1 / 8)).to(dtype) for name in KEYS}
    layer.load_state_dict(weights, assign=True)
    with torch.no_grad():
        return layer(torch.from_numpy(stream.normal("x", (4, 12, 64))).to(dtype)).numpy()


@pytest.mark.parametrize(("heads", "shapes"), [("looped", [(4, 12, 16)] * 4), ("batched", [(4, 4, 12, 16)])])
def test_looped_calls_sdpa_once_a_head_and_batched_once(heads, shapes, monkeypatch):
    calls, sdpa = [], seed.sdpa
    monkeypatch.setattr(
        seed, "sdpa", lambda q, *rest, **named: calls.append(q.shape) or sdpa(q, *rest, **named)
    )
    run(heads, flag_mask=True, dtype=torch.float32)
    assert [tuple(shape) for shape in calls] == shapes


@pytest.mark.parametrize("flag_mask", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
def test_looped_and_batched_heads_agree(flag_mask, dtype, tolerance):
    looped, batched = (run(heads, flag_mask, dtype) for heads in ("looped", "batched"))
    assert np.abs(looped - batched).max() < tolerance * np.abs(looped).max()


def test_the_mask_makes_a_difference_to_every_row_but_the_last():
    rows = (run("looped", False, torch.float64) != run("looped", True, torch.float64)).any(axis=(0, 2))
    assert rows.tolist() == [True] * 11 + [False]


def test_the_state_dict_has_the_seeds_keys():
    assert list(SeedAttention(64, 4, flag_mask=True, heads="looped").state_dict()) == KEYS
