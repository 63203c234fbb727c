"""Attention as people write it becomes one operator, also where padded queries see no key."""

from collections.abc import Callable

import pytest

from pyref.build.pinned_torch import torch
from pyref.build.rng import Stream
from pyref.capture import run, state_dict
from pyref.capture.call import Call
from pyref.capture.flat import flat
from pyref.capture.graph import store
from pyref.models import attention_store

Tensor = torch.Tensor
BATCH, TOKENS, HEADS, SIZE = 3, 5, 2, 4
WIDTH = HEADS * SIZE


def heads(x: Tensor) -> Tensor:
    """Return (batch, heads, tokens, features) of (batch, tokens, width)."""
    return x.view(BATCH, TOKENS, HEADS, SIZE).transpose(1, 2)


def merged(x: Tensor) -> Tensor:
    """Return (batch, tokens, width) of (batch, heads, tokens, features)."""
    return x.transpose(1, 2).reshape(BATCH, TOKENS, WIDTH)


def product(q: Tensor, k: Tensor, v: Tensor, weigh: Callable[[Tensor], Tensor]) -> Tensor:
    """Return attention by products of matrices."""
    scores = heads(q) @ heads(k).transpose(2, 3) / SIZE**0.5
    return merged(weigh(scores) @ heads(v))


def einsum(q: Tensor, k: Tensor, v: Tensor, weigh: Callable[[Tensor], Tensor]) -> Tensor:
    """Return attention by einsum, with heads behind tokens."""
    q, k, v = (x.view(BATCH, TOKENS, HEADS, SIZE) for x in (q, k, v))
    scores = torch.einsum("blhd,bshd->bhls", q, k) * SIZE**-0.5
    return torch.einsum("bhls,bshd->blhd", weigh(scores), v).flatten(2)


def unflattened(q: Tensor, k: Tensor, v: Tensor, weigh: Callable[[Tensor], Tensor]) -> Tensor:
    """Return attention by einsum, with heads before tokens and scaled queries."""
    q, k, v = (x.unflatten(-1, (HEADS, SIZE)).movedim(2, 1) for x in (q / SIZE**0.5, k, v))
    scores = torch.einsum("bhld,bhsd->bhls", q, k)
    return torch.einsum("bhls,bhsd->blhd", weigh(scores), v).flatten(2)


def batched(q: Tensor, k: Tensor, v: Tensor, weigh: Callable[[Tensor], Tensor]) -> Tensor:
    """Return attention with batch and heads in one dimension."""
    q, k, v = (heads(x).reshape(-1, TOKENS, SIZE) for x in (q, k, v))
    scores = torch.bmm(q, k.transpose(1, 2)).view(BATCH, HEADS, TOKENS, TOKENS) * SIZE**-0.5
    context = torch.bmm(weigh(scores).flatten(0, 1), v)
    return merged(context.view(BATCH, HEADS, TOKENS, SIZE))


# Functions of the scores and of the keys that are seen.
MASKS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "the least float": lambda s, seen: s.masked_fill(~seen, torch.finfo(s.dtype).min).softmax(-1),
    "-1e9": lambda s, seen: s.masked_fill(seen == 0, -1e9).softmax(-1),
    "-10000 by where": lambda s, seen: torch.where(seen, s, -10000.0).softmax(-1),
    "where, exchanged": lambda s, seen: torch.where(~seen, torch.tensor(-1e9, dtype=s.dtype), s).softmax(-1),
    "an addend": lambda s, seen: (s + ~seen * -1e9).softmax(-1),
    "-inf": lambda s, seen: s.masked_fill(~seen, float("-inf")).softmax(-1).nan_to_num(),
}
WAYS = {way.__name__: way for way in (product, einsum, unflattened, batched)}


class ByHand(torch.nn.Module):
    """Attention between four projections."""

    def __init__(self, way: Callable, weigh: Callable) -> None:
        super().__init__()
        self.way, self.weigh = way, weigh
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (torch.nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return the attention of x to itself."""
        projections = (self.q_proj(x), self.k_proj(x), self.v_proj(x))
        return self.o_proj(self.way(*projections, lambda scores: self.weigh(scores, mask)))


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("way", WAYS)
def test_attention_by_hand_is_one_operator(way, mask):
    module = ByHand(WAYS[way], MASKS[mask]).eval()
    attention_store.shake(module, Stream(5))
    padding = torch.arange(TOKENS) < torch.tensor([[2], [0], [1]])
    seen = ~padding[:, None, None, :] & torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril()
    x = torch.from_numpy(Stream(6).normal("x", (BATCH, TOKENS, WIDTH)))
    call = Call.of(module, {"x": x, "mask": seen})
    truth = run.double("by hand", module, call)[0]
    graph, _ = store.graph_of(*flat(module, call)[:2], state_dict(module), truth, None)
    ops = [node.op for node in graph.nodes]
    assert ops.count("attention") == 1, ops
    assert not {"softmax", "matmul"} & set(ops), ops
