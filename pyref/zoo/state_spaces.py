"""Selective state spaces: the mixers of Mamba and of Mamba 2, computed step by step."""

from pyref.build.pinned_torch import torch
from pyref.zoo.parts import RMSNorm

nn, functional = torch.nn, torch.nn.functional
Tensor = torch.Tensor


class MambaMixer(nn.Module):
    """The mixer of Mamba: a state for each feature, and dt, B and C from the input."""

    def __init__(self, width: int, inner: int, states: int, rank: int, kernel: int = 4) -> None:
        super().__init__()
        self.states, self.rank = states, rank
        self.in_proj = nn.Linear(width, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, kernel, groups=inner, padding=kernel - 1)
        self.x_proj = nn.Linear(inner, rank + 2 * states, bias=False)
        self.dt_proj = nn.Linear(rank, inner)
        self.A_log = nn.Parameter(torch.zeros(inner, states))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, width, bias=False)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Return the mixer's output for (B, T, width)."""
        tokens = hidden_states.shape[1]
        x, gate = self.in_proj(hidden_states).transpose(1, 2).chunk(2, dim=1)
        x = functional.silu(self.conv1d(x)[..., :tokens])
        dt, b, c = self.x_proj(x.transpose(1, 2)).split([self.rank, self.states, self.states], dim=-1)
        dt = functional.softplus(self.dt_proj(dt)).transpose(1, 2)
        decay = torch.exp((-torch.exp(self.A_log))[None, :, None] * dt[..., None])
        added = dt[..., None] * b[:, None] * x[..., None]
        state, outputs = x.new_zeros(*x.shape[:2], self.states), []
        for t in range(tokens):
            state = decay[:, :, t] * state + added[:, :, t]
            outputs.append((state @ c[:, t, :, None])[..., 0])
        out = torch.stack(outputs, dim=-1) + x * self.D[None, :, None]
        return self.out_proj((out * functional.silu(gate)).transpose(1, 2))


class GatedNorm(nn.Module):
    """RMSNorm with a gate before it: the norms of Mamba 2 and of Granite 4."""

    def __init__(self, width: int, eps: float, groups: int = 1) -> None:
        super().__init__()
        self.weight, self.eps, self.groups = nn.Parameter(torch.ones(width)), eps, groups

    def forward(self, hidden_states: Tensor, gate: Tensor) -> Tensor:
        """Return the norm of hidden_states times silu(gate), in groups of features."""
        x = hidden_states * functional.silu(gate)
        if self.groups == 1:
            return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight
        parts = x.view(*x.shape[:-1], self.groups, -1)
        parts = parts * torch.rsqrt(parts.pow(2).mean(-1, keepdim=True) + self.eps)
        return parts.view(x.shape) * self.weight


class GatedProjection(nn.Module):
    """One projection to x and a gate, their norm, and a projection back: the end of a mixer."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.in_proj, self.out_proj = nn.Linear(width, 2 * inner), nn.Linear(inner, width)
        self.norm = GatedNorm(inner, 1e-5)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Return the output for (B, T, width)."""
        x, gate = self.in_proj(hidden_states).chunk(2, dim=-1)
        return self.out_proj(self.norm(x, gate))


class NormBeforeGate(nn.Module):
    """RMSNorm with a gate behind it: the norms of Qwen3-Next and, by a flag, of Falcon H1."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, hidden_states: Tensor, gate: Tensor) -> Tensor:
        """Return the norm of hidden_states, times silu(gate)."""
        normed = hidden_states * torch.rsqrt(hidden_states.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * normed * functional.silu(gate)


class Mamba2Mixer(nn.Module):
    """The mixer of Mamba 2: a state for each head, with one decay."""

    def __init__(self, width: int, heads: int, size: int, states: int, norm: nn.Module) -> None:
        super().__init__()
        self.heads, self.size, self.states, self.inner = heads, size, states, heads * size
        wide = self.inner + 2 * states
        self.in_proj = nn.Linear(width, self.inner + wide + heads, bias=False)
        self.conv1d = nn.Conv1d(wide, wide, 4, groups=wide, padding=3)
        self.dt_bias = nn.Parameter(torch.ones(heads))
        self.A_log, self.D = nn.Parameter(torch.zeros(heads)), nn.Parameter(torch.ones(heads))
        self.norm = norm
        self.out_proj = nn.Linear(self.inner, width, bias=False)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Return the mixer's output for (B, T, width)."""
        batch, tokens, _ = hidden_states.shape
        widths = [self.inner, self.inner + 2 * self.states, self.heads]
        gate, mixed, dt = self.projected(hidden_states).split(widths, dim=-1)
        mixed = functional.silu(self.conv1d(mixed.transpose(1, 2))[..., :tokens].transpose(1, 2))
        x, b, c = mixed.split([self.inner, self.states, self.states], dim=-1)
        x = x.view(batch, tokens, self.heads, self.size)
        dt = functional.softplus(dt + self.dt_bias)[..., None, None]
        decay = torch.exp(dt * (-torch.exp(self.A_log))[:, None, None])
        added = dt * b[:, :, None, None] * x[..., None]
        state, outputs = x.new_zeros(batch, self.heads, self.size, self.states), []
        for t in range(tokens):
            state = decay[:, t] * state + added[:, t]
            outputs.append((state @ c[:, t, None, :, None])[..., 0])
        out = torch.stack(outputs, dim=1) + x * self.D[:, None]
        return self.out_proj(self.norm(out.flatten(2), gate))

    def projected(self, hidden_states: Tensor) -> Tensor:
        """Return gate, x, B, C and dt side by side."""
        return self.in_proj(hidden_states)


class MambaLayer(nn.Module):
    """A mixer behind a norm and inside a sum."""

    def __init__(self, width: int, eps: float, mixer: nn.Module) -> None:
        super().__init__()
        self.norm, self.mixer = RMSNorm(width, eps), mixer

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output."""
        return x + self.mixer(self.norm(x))


class MambaBackbone(nn.Module):
    """Token ids (B, T) to normalised hidden states."""

    def __init__(self, vocabulary: int, width: int, eps: float, layers: list[nn.Module]) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(vocabulary, width)
        self.layers, self.norm_f = nn.ModuleList(layers), RMSNorm(width, eps)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return the hidden states."""
        x = self.embeddings(input_ids)
        for layer in self.layers:
            x = layer(x)
        return self.norm_f(x)


class MambaForCausalLM(nn.Module):
    """Mamba, with a tied head."""

    def __init__(self) -> None:
        super().__init__()
        width, inner, states, rank, eps = 12, 20, 5, 3, 1e-5
        self.config = {
            "model_type": "mamba",
            "vocab_size": 31,
            "hidden_size": width,
            "intermediate_size": inner,
            "state_size": states,
            "time_step_rank": rank,
            "conv_kernel": 4,
            "num_hidden_layers": 2,
            "layer_norm_epsilon": eps,
            "hidden_act": "silu",
            "use_bias": False,
            "use_conv_bias": True,
            "tie_word_embeddings": True,
        }
        layers = [MambaLayer(width, eps, MambaMixer(width, inner, states, rank)) for _ in range(2)]
        self.backbone = MambaBackbone(31, width, eps, layers)
        self.lm_head = nn.Linear(width, 31, bias=False)
        self.lm_head.weight = self.backbone.embeddings.weight

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return the logits (B, T, vocabulary)."""
        return self.lm_head(self.backbone(input_ids))
