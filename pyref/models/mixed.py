"""A decoder whose layers are of several kinds, with experts.

Layers have a window or not, one of two rotary bases or none. Its MLP has limits and an offset.
"""

from dataclasses import dataclass

from pyref.build.pinned_torch import torch
from pyref.models import decoder

nn = torch.nn
Tensor = torch.Tensor


@dataclass(frozen=True)
class Settings(decoder.Settings):
    """The sizes and the options of a decoder of several kinds of layers."""

    layers: int = 6
    heads: int = 2
    kv_heads: int = 1
    width: int = 16
    inner: int = 20
    experts: int = 12
    chosen: int = 3
    shared: int = 10
    grouped: bool = False  # sigmoid scores, a bias for the choice, groups, a factor; else softmax
    factor: float = 2.5
    multiplier: float = 0.6  # of attention and MLP in the residual sums
    limit: float = 0.7
    local: tuple[int, ...] = (1, 1, 0, 1, 1, 0)  # layers with a window and the local base
    rotated: tuple[int, ...] = (1, 1, 1, 1, 0, 1)


class Experts(nn.Module):
    """Stacked experts with a fused projection: gate and up in every other feature."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.limit, count = settings.limit, settings.experts
        self.gate_up_proj = nn.Parameter(torch.empty(count, settings.width, 2 * settings.inner))
        self.down_proj = nn.Parameter(torch.empty(count, settings.inner, settings.width))

    def forward(self, x: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        """Return the weighted sum of the chosen experts (tokens, chosen) of x (tokens, width)."""
        count = chosen.shape[1]
        tokens = x.repeat_interleave(count, dim=0)
        fused = torch.bmm(tokens[:, None], self.gate_up_proj[chosen.reshape(-1)])[:, 0]
        inner = self.combine(*self.parts(fused))
        out = torch.bmm(inner[:, None], self.down_proj[chosen.reshape(-1)])[:, 0]
        return (out * weights.reshape(-1, 1)).view(-1, count, x.shape[1]).sum(dim=1)

    def parts(self, fused: Tensor) -> tuple[Tensor, Tensor]:
        """Split the fused projection into gate and up."""
        return fused[..., ::2], fused[..., 1::2]

    def combine(self, gate: Tensor, up: Tensor) -> Tensor:
        """Return (up + 1) gate sigmoid(1.702 gate), within limits."""
        gate, up = gate.clamp(max=self.limit), up.clamp(min=-self.limit, max=self.limit)
        return (up + 1) * (gate * torch.sigmoid(1.702 * gate))


class Router(nn.Module):
    """The experts of each token and their weights."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.gate = nn.Linear(settings.width, settings.experts, bias=False)
        if settings.grouped:
            self.choice_bias = nn.Parameter(torch.zeros(settings.experts))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the chosen experts and their weights, both (tokens, chosen)."""
        scores = self.scores(self.gate(x))
        if not self.settings.grouped:
            weights, chosen = self.settings_topk(scores)
            return chosen, self.normalise(weights)
        choice = self.biased(scores)
        chosen = self.masked(choice).topk(self.settings.chosen, dim=-1)[1]
        weights = self.source(scores, choice).gather(1, chosen)
        return chosen, self.scale(self.normalise(weights))

    def scores(self, logits: Tensor) -> Tensor:
        """Return the score of each expert."""
        return torch.sigmoid(logits) if self.settings.grouped else torch.softmax(logits, dim=-1)

    def settings_topk(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Return the largest scores and their experts."""
        return scores.topk(self.settings.chosen, dim=-1)

    def biased(self, scores: Tensor) -> Tensor:
        """Return the scores for the choice."""
        return scores + self.choice_bias

    def source(self, scores: Tensor, choice: Tensor) -> Tensor:
        """Return the scores that weight the experts."""
        return scores

    def masked(self, choice: Tensor) -> Tensor:
        """Return the scores for the choice, -inf outside the best two of four groups."""
        groups = choice.view(len(choice), 4, -1)
        best = self.group_scores(groups).topk(2, dim=-1)[1]
        allowed = torch.zeros(len(choice), 4, dtype=choice.dtype).scatter(1, best, 1.0)
        allowed = allowed.repeat_interleave(groups.shape[2], dim=1)
        return choice.masked_fill(allowed == 0, -torch.inf)

    def group_scores(self, groups: Tensor) -> Tensor:
        """Return the score of each group: the sum of its two largest."""
        return groups.topk(2, dim=-1)[0].sum(dim=-1)

    def normalise(self, weights: Tensor) -> Tensor:
        """Return weights that add up to one."""
        return weights / weights.sum(dim=-1, keepdim=True)

    def scale(self, weights: Tensor) -> Tensor:
        """Return the weights with the model's factor."""
        return weights * self.settings.factor


class Mixture(nn.Module):
    """The chosen experts and a shared one."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.router, self.experts = Router(settings), Experts(settings)
        self.shared = decoder.MLP(decoder.Settings(width=settings.width, inner=settings.shared))
        self.shared_gate = None if settings.grouped else nn.Linear(settings.width, 1, bias=False)

    def forward(self, x: Tensor, raw: Tensor) -> Tensor:
        """Return the MLP of x, the norm of raw."""
        flat = x.reshape(-1, x.shape[-1])
        chosen, weights = self.router(self.routed(flat, raw))
        return self.add(self.experts(flat, chosen, weights), self.share(flat)).view(x.shape)

    def routed(self, flat: Tensor, raw: Tensor) -> Tensor:
        """Return the input of the router."""
        return flat

    def share(self, x: Tensor) -> Tensor:
        """Return the shared expert's output."""
        out = self.shared(x)
        return out if self.shared_gate is None else self.gate(x) * out

    def gate(self, x: Tensor) -> Tensor:
        """Return the gate of the shared expert."""
        return torch.sigmoid(self.shared_gate(x))

    def add(self, routed: Tensor, shared: Tensor) -> Tensor:
        """Add the shared expert."""
        return routed + shared


class Attention(decoder.Attention):
    """Attention whose queries and keys are normalised in each head, and rotated or not."""

    def __init__(self, settings: Settings, rotated: int) -> None:
        super().__init__(settings)
        self.q_norm = decoder.RMSNorm(settings.head_size, settings)
        self.k_norm = decoder.RMSNorm(settings.head_size, settings)
        self.rotated = rotated

    def turn_query(self, query: Tensor, tables: tuple[Tensor, Tensor]) -> Tensor:
        """Rotate the queries, if the layer does."""
        return decoder.rotate(query, *tables) if self.rotated else query

    def turn_key(self, key: Tensor, tables: tuple[Tensor, Tensor]) -> Tensor:
        """Rotate the keys, if the layer does."""
        return decoder.rotate(key, *tables) if self.rotated else key

    def forward(self, x: Tensor, tables: tuple[Tensor, Tensor], seen: Tensor) -> Tensor:
        """Return the attention over the keys that `seen` shows."""
        split = (*x.shape[:2], -1, self.settings.head_size)
        query = self.norm_query(self.q_proj(x).view(split)).transpose(1, 2)
        key = self.norm_key(self.k_proj(x).view(split)).transpose(1, 2)
        value = self.repeat(self.v_proj(x).view(split).transpose(1, 2))
        query, key = self.turn_query(query, tables), self.repeat(self.turn_key(key, tables))
        scores = (query @ key.transpose(2, 3) * self.scale).masked_fill(~seen, torch.finfo(x.dtype).min)
        context = torch.softmax(scores, dim=-1) @ value
        return self.o_proj(self.merge(context, (*x.shape[:2], -1)))

    def norm_query(self, query: Tensor) -> Tensor:
        """Normalise the queries (B, T, H, E)."""
        return self.q_norm(query)

    def norm_key(self, key: Tensor) -> Tensor:
        """Normalise the keys (B, T, H, E)."""
        return self.k_norm(key)


class Layer(nn.Module):
    """Attention and experts, between norms, with a multiplier in the sums."""

    def __init__(self, settings: Settings, kind: int) -> None:
        super().__init__()
        width = settings.width
        self.multiplier = settings.multiplier
        self.input_layernorm = decoder.RMSNorm(width, settings)
        self.self_attn = Attention(settings, settings.rotated[kind])
        self.post_attention_layernorm = decoder.RMSNorm(width, settings)
        self.pre_feedforward_layernorm = decoder.RMSNorm(width, settings)
        self.mlp = Mixture(settings)
        self.post_feedforward_layernorm = decoder.RMSNorm(width, settings)

    def forward(self, x: Tensor, tables: tuple[Tensor, Tensor], seen: Tensor) -> Tensor:
        """Return the layer's output."""
        branch = self.self_attn(self.input_layernorm(x), tables, seen)
        x = self.add(x, branch, self.post_attention_layernorm)
        return self.add(
            x, self.mlp(self.pre_feedforward_layernorm(x), x), self.post_feedforward_layernorm
        )

    def add(self, x: Tensor, branch: Tensor, norm: nn.Module) -> Tensor:
        """Add a branch behind its norm."""
        return x + norm(branch) if self.multiplier == 1 else x + self.multiplier * norm(branch)


class Mixed(nn.Module):
    """Token ids (B, T) to logits (B, T, vocabulary)."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.embed_tokens = nn.Embedding(settings.vocabulary, settings.width)
        self.layers = nn.ModuleList(Layer(settings, i) for i in range(settings.layers))
        self.norm = decoder.RMSNorm(settings.width, settings)
        self.lm_head = nn.Linear(settings.width, settings.vocabulary, bias=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the logits; attention_mask (B, T) is 0 where a token is padding."""
        x = self.embed_tokens(input_ids)
        tables, seen = self.tables(input_ids.shape[1], x.dtype), self.masks(attention_mask)
        for layer, mask, base in zip(self.layers, self.windows(), self.bases(), strict=True):
            x = layer(x, tables[base], seen[mask])
        return self.logits(self.lm_head(self.before_head(self.norm(x))))

    def tables(self, tokens: int, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
        """Return the rotary tables of layers without and with a window."""
        size = self.settings.head_size
        sizes = (decoder.Settings(head_size=size, base=base) for base in (10000.0, 50.0))
        return [decoder.Rotary(settings)(tokens, dtype) for settings in sizes]

    def masks(self, attention_mask: Tensor) -> list[Tensor]:
        """Return the keys that each query sees in layers without and with a window."""
        position = torch.arange(attention_mask.shape[1])
        away = position[:, None] - position
        padding = attention_mask.bool()[:, None, None]
        return [(away >= 0) & padding, (away >= 0) & (away < 3) & padding]

    def windows(self) -> tuple[int, ...]:
        """Return, for each layer, whether it has a window."""
        return self.settings.local

    def bases(self) -> tuple[int, ...]:
        """Return, for each layer, whether it has the local base."""
        return self.settings.local

    def before_head(self, x: Tensor) -> Tensor:
        """Scale the hidden states for the head."""
        return x * 0.4

    def logits(self, x: Tensor) -> Tensor:
        """Scale the logits."""
        return x / 3.0
