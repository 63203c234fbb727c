"""Attention on heads that are ready, in the three ways that a decoder layer needs.

query (B, H, L, E), key and value (B, Hk, S, E), `allow` bool (B or 1, 1, L, S), true takes part, or None
-> context (B, H, L, E), zero where a query sees no key.
"""

import warnings
from collections.abc import Callable
from importlib import import_module

from pyref.pinned import torch

Score = Callable[..., torch.Tensor]  # (score, batch, head, query, key) -> score, as flex_attention has it

# `import torch` does not bring this module along.
flex_attention = import_module("torch.nn.attention.flex_attention").flex_attention


def sdpa(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, allow: torch.Tensor | None, scale: float
) -> torch.Tensor:
    """Return the context of scaled_dot_product_attention, which can express every mask and grouped heads."""
    return torch.nn.functional.scaled_dot_product_attention(
        q, k, v, attn_mask=allow, scale=scale, enable_gqa=True
    )


def flex(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    allow: torch.Tensor | None,
    scale: float,
    score: Score,
) -> torch.Tensor:
    """Return the context of flex_attention in eager mode, which lets `score` change every scaled score."""

    def modify(value, b, h, i, j):
        value = score(value, b, h, i, j)
        if allow is None:
            return value
        return torch.where(allow[b % len(allow), 0, i, j], value, -torch.inf)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "flex_attention called without torch.compile")  # that it is slow
        return flex_attention(q, k, v, score_mod=modify, scale=scale, enable_gqa=True)


def with_sinks(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    allow: torch.Tensor | None,
    scale: float,
    sinks: torch.Tensor,
) -> torch.Tensor:
    """Return the context where each head's sink (H) is one more logit, whose weight has no value.

    PyTorch has no function for it; gpt-oss computes it with these operations.
    """
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
    logits = q @ k.mT * scale
    if allow is not None:
        logits = logits.masked_fill(~allow, -torch.inf)
    sink = sinks[:, None, None].expand(*logits.shape[:-1], 1)
    weights = torch.cat([logits, sink], dim=-1).softmax(dim=-1)
    return weights[..., :-1] @ v
