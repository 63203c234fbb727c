"""A step of an upscaler: a timestep, padding on one side, a factor of size, gated norms."""

from pyref.build.pinned_torch import torch
from pyref.models import decoder

nn, functional = torch.nn, torch.nn.functional
Tensor = torch.Tensor


class Upscaler(nn.Module):
    """Images (B, 3, 8, 8) and timesteps (B,) to pixels (B, 36, 6)."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.time = nn.Linear(8, width)
        self.down = nn.Conv2d(3, width, 3, stride=2)
        self.gate = nn.Linear(width, width)
        self.inner_norm, self.outer_norm = (decoder.RMSNorm(width, decoder.Settings()) for _ in range(2))
        self.proj = nn.Linear(width, width)

    def forward(self, pixel_values: Tensor, timestep: Tensor) -> Tensor:
        """Return the pixels of the larger images."""
        x = self.down(self.pad(pixel_values)) + self.time(self.sinusoid(timestep))[..., None, None]
        x = self.enlarge(x).flatten(2).transpose(1, 2)
        gate = functional.silu(self.gate(x))
        x = self.proj(self.gated_inside(x, gate))
        return self.gated_outside(x, gate)

    def pad(self, x: Tensor) -> Tensor:
        """Pad the left and the top."""
        return functional.pad(x, (1, 0, 1, 0))

    def sinusoid(self, timestep: Tensor) -> Tensor:
        """Return sines, then cosines, of four frequencies."""
        angles = timestep[:, None] * torch.tensor([1.0, 0.3, 0.1, 0.03], dtype=timestep.dtype)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

    def enlarge(self, x: Tensor) -> Tensor:
        """Return x with 1.6 times as many rows and columns."""
        return functional.interpolate(x, scale_factor=1.6, mode="bilinear", align_corners=False)

    def gated_inside(self, x: Tensor, gate: Tensor) -> Tensor:
        """Return the norm of x times the gate."""
        return self.inner_norm(x * gate)

    def gated_outside(self, x: Tensor, gate: Tensor) -> Tensor:
        """Return the norm of x, times the gate."""
        return self.outer_norm(x) * gate
