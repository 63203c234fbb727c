"""Recurrent layers, and a selective state space as Mamba has it."""

from pyref.build.pinned_torch import torch

nn, functional = torch.nn, torch.nn.functional
Tensor = torch.Tensor


class Recurrent(nn.Module):
    """Sequences (B, T, 5) through a bidirectional LSTM, a GRU and a plain layer: (B, T, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 4, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(8, 6, batch_first=True)
        self.rnn = nn.RNN(6, 4, batch_first=True)

    def forward(self, x: Tensor, hidden: Tensor, cells: Tensor) -> Tensor:
        """Return the states of the last layer."""
        x = self.lstm(x, (hidden, cells))[0]
        return self.rnn(self.gru(x)[0])[0]


class Mixer(nn.Module):
    """A selective state space with a causal convolution, a gate and a grouped norm."""

    def __init__(self, width: int, states: int = 3, rank: int = 2, kernel: int = 4) -> None:
        super().__init__()
        self.states, self.rank = states, rank
        inner = 2 * width
        self.in_proj = nn.Linear(width, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, kernel, groups=inner, padding=kernel - 1)
        self.x_proj = nn.Linear(inner, rank + 2 * states, bias=False)
        self.dt_proj = nn.Linear(rank, inner)
        self.A_log = nn.Parameter(torch.zeros(inner, states))
        self.D = nn.Parameter(torch.ones(inner))
        self.norm_weight = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixer's output."""
        inner, gate = self.halves(self.in_proj(x))
        inner = functional.silu(self.convolve(inner.transpose(1, 2))).transpose(1, 2)
        dt, b, c = self.split(self.x_proj(inner))
        dt = self.step(self.raw_step(dt))
        out = self.scan(inner, dt, self.decay_rate(), b, c)
        return self.out_proj(self.norm(self.skip(out, inner), gate))

    def halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the input and the gate."""
        first, second = x.chunk(2, dim=-1)
        return first, second

    def convolve(self, x: Tensor) -> Tensor:
        """Return the causal convolution of (B, features, T)."""
        return self.conv1d(x)[..., : x.shape[-1]]

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return dt, B and C."""
        dt, b, c = x.split([self.rank, self.states, self.states], dim=-1)
        return dt, b, c

    def raw_step(self, dt: Tensor) -> Tensor:
        """Return dt before softplus."""
        return self.dt_proj(dt)

    def step(self, dt: Tensor) -> Tensor:
        """Return dt."""
        return functional.softplus(dt)

    def decay_rate(self) -> Tensor:
        """Return A."""
        return -torch.exp(self.A_log)

    def scan(self, x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """Return what C reads from the state at each step."""
        decay = self.decay(dt[..., None] * a)
        added = self.drive(dt, b) * x[..., None]
        state = x.new_zeros(x.shape[0], x.shape[2], self.states)
        outputs = []
        for t in range(x.shape[1]):
            before = state
            state = self.update(decay[:, t], state, added[:, t])
            outputs.append(self.read(before, state) @ c[:, t, :, None])
        return torch.stack([out[..., 0] for out in outputs], dim=1)

    def decay(self, exponent: Tensor) -> Tensor:
        """Return the factor of the state."""
        return torch.exp(exponent)

    def drive(self, dt: Tensor, b: Tensor) -> Tensor:
        """Return the factor of the input."""
        return dt[..., None] * b[:, :, None]

    def update(self, decay: Tensor, state: Tensor, added: Tensor) -> Tensor:
        """Return the next state."""
        return decay * state + added

    def read(self, before: Tensor, after: Tensor) -> Tensor:
        """Return the state that C reads."""
        return after

    def skip(self, out: Tensor, x: Tensor) -> Tensor:
        """Add D x."""
        return out + x * self.D

    def norm(self, x: Tensor, gate: Tensor) -> Tensor:
        """Return the norm of x silu(gate) in two groups of features."""
        return self.grouped(x * self.open(gate), 2) * self.norm_weight

    def open(self, gate: Tensor) -> Tensor:
        """Return silu of the gate."""
        return functional.silu(gate)

    def grouped(self, x: Tensor, groups: int) -> Tensor:
        """Return x over the root of its mean square in each group."""
        parts = x.view(*x.shape[:-1], groups, -1)
        return (parts * torch.rsqrt(parts.pow(2).mean(-1, keepdim=True) + 1e-5)).view(x.shape)


class StateSpace(nn.Module):
    """Token ids (B, T) to logits: two mixers."""

    def __init__(self, width: int = 8, vocabulary: int = 31) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList(Mixer(width) for _ in range(2))
        self.norm = nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return the logits."""
        x = self.embed_tokens(input_ids)
        for layer in self.layers:
            x = x + layer(x)
        return self.lm_head(self.norm(x))
