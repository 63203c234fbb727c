"""A decoder with norms over all heads, a scale of its own, and square experts with halves."""

from pyref.build.pinned_torch import torch
from pyref.models import decoder

nn, functional = torch.nn, torch.nn.functional
Tensor = torch.Tensor
WIDTH, HEADS, EXPERTS, CHOSEN = 8, 2, 4, 2


class Attention(nn.Module):
    """Causal attention whose queries and keys are normalised before they are split into heads."""

    def __init__(self) -> None:
        super().__init__()
        layers = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = layers
        self.q_norm, self.k_norm = (decoder.RMSNorm(WIDTH, decoder.Settings()) for _ in range(2))
        self.scale = 0.3

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """Return the attention over the keys that `seen` (B, 1, T, T) shows."""
        query = self.normed(self.q_norm, self.q_proj(x))
        key, value = self.normed(self.k_norm, self.k_proj(x)), self.v_proj(x)
        query, key, value = (
            part.view(*x.shape[:2], HEADS, -1).transpose(1, 2) for part in (query, key, value)
        )
        scores = (query @ key.transpose(2, 3) * self.scale).masked_fill(~seen, torch.finfo(x.dtype).min)
        context = torch.softmax(scores, dim=-1) @ value
        return self.o_proj(context.transpose(1, 2).reshape(x.shape))

    def normed(self, norm: decoder.RMSNorm, x: Tensor) -> Tensor:
        """Normalise (B, T, heads x size)."""
        return norm(x)


class Experts(nn.Module):
    """Experts with their softmax scores as weights, and a fused projection: gates, then ups."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(WIDTH, EXPERTS, bias=False)
        self.gate_up_proj = nn.Parameter(torch.empty(EXPERTS, WIDTH, WIDTH))
        self.down_proj = nn.Parameter(torch.empty(EXPERTS, WIDTH // 2, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted sum of the chosen experts."""
        flat = x.reshape(-1, WIDTH)
        weights, chosen = torch.softmax(self.router(flat), dim=-1).topk(CHOSEN, dim=-1)
        weights = self.weigh(weights).reshape(-1, 1)
        tokens = flat.repeat_interleave(CHOSEN, dim=0)
        fused = torch.bmm(tokens[:, None], self.gate_up_proj[chosen.reshape(-1)])[:, 0]
        gate, up = self.parts(fused)
        inner = functional.silu(gate) * up
        out = torch.bmm(inner[:, None], self.down_proj[chosen.reshape(-1)])[:, 0]
        return (out * weights).view(-1, CHOSEN, WIDTH).sum(1).view(x.shape)

    def weigh(self, weights: Tensor) -> Tensor:
        """Return the weights of the chosen experts."""
        return weights

    def parts(self, fused: Tensor) -> tuple[Tensor, Tensor]:
        """Split the fused projection into gate and up."""
        gate, up = fused.chunk(2, dim=-1)
        return gate, up


class Layer(nn.Module):
    """Attention and experts, each behind a norm and inside a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.input_layernorm = decoder.RMSNorm(WIDTH, decoder.Settings())
        self.self_attn = Attention()
        self.post_attention_layernorm = decoder.RMSNorm(WIDTH, decoder.Settings())
        self.mlp = Experts()

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """Return the layer's output."""
        x = x + self.self_attn(self.input_layernorm(x), seen)
        return x + self.mlp(self.post_attention_layernorm(x))


class Fused(nn.Module):
    """Token ids (B, T) to logits (B, T, vocabulary)."""

    def __init__(self, vocabulary: int = 31) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(vocabulary, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(2))
        self.norm = decoder.RMSNorm(WIDTH, decoder.Settings())
        self.lm_head = nn.Linear(WIDTH, vocabulary, bias=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the logits; attention_mask (B, T) is 0 where a token is padding."""
        tokens = input_ids.shape[1]
        seen = torch.ones(tokens, tokens, dtype=torch.bool).tril() & attention_mask.bool()[:, None, None]
        x = self.embed_tokens(input_ids)
        for layer in self.layers:
            x = layer(x, seen)
        return self.lm_head(self.norm(x))
