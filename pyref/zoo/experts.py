"""Experts: a router chooses a few MLPs for each token."""

from pyref.build.pinned_torch import torch

nn, functional = torch.nn, torch.nn.functional
Tensor = torch.Tensor


class MLP(nn.Module):
    """silu(gate) times up."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the MLP of x."""
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Experts(nn.Module):
    """The MLPs of all experts. A row of gate_up_proj holds the gate's rows and then up's."""

    def __init__(self, width: int, experts: int, inner: int) -> None:
        super().__init__()
        self.gate_up_proj = nn.Parameter(torch.empty(experts, 2 * inner, width))
        self.down_proj = nn.Parameter(torch.empty(experts, width, inner))

    def forward(self, x: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        """Return the weighted sum of the experts `chosen` (tokens, k) for x (tokens, width)."""
        tokens, k = chosen.shape
        experts = chosen.reshape(-1)
        each = x.repeat_interleave(k, dim=0).unsqueeze(-1)
        gate, up = torch.bmm(self.gate_up_proj[experts], each).squeeze(-1).chunk(2, dim=-1)
        inner = (functional.silu(gate) * up).unsqueeze(-1)
        out = torch.bmm(self.down_proj[experts], inner).squeeze(-1) * weights.reshape(-1, 1)
        return out.view(tokens, k, -1).sum(dim=1)


class SoftmaxRouter(nn.Module):
    """A softmax over all experts. The weights of the best stay as they are."""

    def __init__(self, width: int, experts: int, chosen: int) -> None:
        super().__init__()
        self.weight, self.chosen = nn.Parameter(torch.empty(experts, width)), chosen

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the chosen experts and their weights."""
        scores = torch.softmax(functional.linear(x, self.weight), dim=-1)
        weights, chosen = torch.topk(scores, self.chosen, dim=-1)
        return chosen, weights


class SigmoidRouter(nn.Module):
    """Sigmoids. A bias takes part in the choice alone, and the chosen weights sum to `factor`."""

    def __init__(self, width: int, experts: int, chosen: int, factor: float) -> None:
        super().__init__()
        self.weight, self.chosen, self.factor = nn.Parameter(torch.empty(experts, width)), chosen, factor
        self.register_buffer("e_score_correction_bias", torch.zeros(experts))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the chosen experts and their weights."""
        scores = torch.sigmoid(functional.linear(x, self.weight))
        chosen = torch.topk(scores + self.e_score_correction_bias, self.chosen, dim=-1)[1]
        weights = scores.gather(1, chosen)
        return chosen, weights / weights.sum(dim=-1, keepdim=True) * self.factor


class GatedMoe(nn.Module):
    """Experts, and a shared MLP times the sigmoid of its gate: Qwen2MoeSparseMoeBlock."""

    def __init__(self, width: int, experts: int, chosen: int, inner: int, shared: int) -> None:
        super().__init__()
        self.gate = SoftmaxRouter(width, experts, chosen)
        self.experts = Experts(width, experts, inner)
        self.shared_expert = MLP(width, shared)
        self.shared_expert_gate = nn.Linear(width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum for x (B, T, width)."""
        rows = x.reshape(-1, x.shape[-1])
        shared = torch.sigmoid(self.shared_expert_gate(rows)) * self.shared_expert(rows)
        return (self.experts(rows, *self.gate(rows)) + shared).view(x.shape)


class SigmoidMoe(nn.Module):
    """Experts and a shared MLP: Glm4MoeMoE."""

    def __init__(self, width: int, experts: int, chosen: int, inner: int, factor: float) -> None:
        super().__init__()
        self.gate = SigmoidRouter(width, experts, chosen, factor)
        self.experts = Experts(width, experts, inner)
        self.shared_experts = MLP(width, inner)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum for x (B, T, width)."""
        rows = x.reshape(-1, x.shape[-1])
        return (self.experts(rows, *self.gate(rows)) + self.shared_experts(rows)).view(x.shape)
