"""Attention on projected heads, in the three ways that a decoder layer needs.

query (B, H, L, E), key and value (B, Hk, S, E), `allow` bool (B or 1, 1, L, S), true for a key that
takes part, None if all do -> context (B, H, L, E), zero for a query with every key masked.
"""

import warnings
from collections.abc import Callable
from importlib import import_module

from pyref.build.pinned_torch import torch

ScoreMod = Callable[..., torch.Tensor]  # (score, batch, head, query, key) -> score

# The name of with_sinks in the field provenance.function of the committed cases.
WITH_SINKS = "pyref.ops.kernels.with_sinks"

# `import torch` does not import this module.
flex_attention = import_module("torch.nn.attention.flex_attention").flex_attention


def sdpa(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, allow: torch.Tensor | None, scale: float
) -> torch.Tensor:
    """Return scaled_dot_product_attention's context; it takes any mask and grouped heads."""
    return torch.nn.functional.scaled_dot_product_attention(
        q, k, v, attn_mask=allow, scale=scale, enable_gqa=True
    )


def flex(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    allow: torch.Tensor | None,
    scale: float,
    score_mod: ScoreMod,
) -> torch.Tensor:
    """Return the context by flex_attention in eager mode; score_mod changes every scaled score."""

    def modify(score, b, h, i, j):
        score = score_mod(score, b, h, i, j)
        if allow is None:
            return score
        return torch.where(allow[b % len(allow), 0, i, j], score, -torch.inf)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "flex_attention called without torch.compile")
        return flex_attention(q, k, v, score_mod=modify, scale=scale, enable_gqa=True)


def with_sinks(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    allow: torch.Tensor | None,
    scale: float,
    sinks: torch.Tensor,
) -> torch.Tensor:
    """Return the context with one more logit per head, its sink (H), whose weight has no value.

    PyTorch has no such function; gpt-oss computes attention with sinks by these operations.
    """
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
    logits = q @ k.mT * scale
    if allow is not None:
        logits = logits.masked_fill(~allow, -torch.inf)
    sink = sinks[:, None, None].expand(*logits.shape[:-1], 1)
    weights = torch.cat([logits, sink], dim=-1).softmax(dim=-1)
    return weights[..., :-1] @ v
