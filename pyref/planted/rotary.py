"""Rotation by given tables in plain PyTorch, and the mistakes that it can have."""

from dataclasses import dataclass, replace

from pyref.build.pinned_torch import torch

Tensor = torch.Tensor


@dataclass(frozen=True, kw_only=True)
class PlainRotation:
    """The rotation of a case: x is (B, T, H, E), and `merged` if the case has (B, T, H*E).

    `cos` and `sin` are (B, T, dim/2). `columns` gives the column of the first and of the second
    feature of each pair. `table` holds both whole tables if the case has positions.
    """

    x: Tensor
    cos: Tensor
    sin: Tensor
    style: str
    merged: bool
    table: tuple[Tensor, Tensor] | None = None
    turns: bool = True
    columns: tuple[Tensor, Tensor] | None = None

    @torch.no_grad()
    def compute(self) -> Tensor:
        """Return the output in the shape of the case's input."""
        out = self.rotated() if self.turns else self.x
        return out.flatten(-2) if self.merged else out.transpose(1, 2)

    def rotated(self) -> Tensor:
        """Return (B, T, H, E) with the pairs of the first features rotated."""
        half = self.cos.shape[-1]
        first, second = (slice(0, half), slice(half, 2 * half))
        if self.style == "interleaved":
            first, second = (slice(0, 2 * half, 2), slice(1, 2 * half, 2))
        own, other = self.columns or (torch.arange(half),) * 2
        cos, sin = self.cos[:, :, None], self.sin[:, :, None]
        out = self.x.clone()
        out[..., first] = self.x[..., first] * cos[..., own] - self.x[..., second] * sin[..., own]
        out[..., second] = self.x[..., second] * cos[..., other] + self.x[..., first] * sin[..., other]
        return out


def plain_rotation(config: dict, tensors: dict[str, Tensor]) -> PlainRotation:
    """Return the rotation of a case."""
    x, cos, sin = (tensors[name] for name in ("input", "cos", "sin"))
    merged, table = "num_heads" in config, None
    if "positions" in tensors:
        table = (cos, sin)
        cos, sin = cos[tensors["positions"]], sin[tensors["positions"]]
    x = x.unflatten(-1, (config["num_heads"], -1)) if merged else x.transpose(1, 2)
    return PlainRotation(x=x, cos=cos, sin=sin, style=config["style"], merged=merged, table=table)


def other_style(plain: PlainRotation) -> PlainRotation:
    """Rotate interleaved pairs instead of halves, or halves instead of interleaved pairs."""
    return replace(plain, style="half" if plain.style == "interleaved" else "interleaved")


def neighbours(plain: PlainRotation) -> PlainRotation:
    """Rotate halves, where the features 2i and 2i + 1 have the angle of pair i."""
    half = plain.cos.shape[-1]
    columns = torch.arange(2 * half) // 2
    return replace(plain, style="half", columns=(columns[:half], columns[half:]))


def coarse(plain: PlainRotation) -> PlainRotation:
    """Round the tables to bfloat16."""
    cos, sin = (table.bfloat16().to(table.dtype) for table in (plain.cos, plain.sin))
    return replace(plain, cos=cos, sin=sin)


def positions_ignored(plain: PlainRotation) -> PlainRotation | None:
    """Take the rows of the tables in order."""
    if plain.table is None:
        return None
    cos, sin = (table[: plain.x.shape[1]].expand(len(plain.x), -1, -1) for table in plain.table)
    return replace(plain, cos=cos, sin=sin)


def positions_of_first_batch_element(plain: PlainRotation) -> PlainRotation:
    """Rotate every batch element as the first."""
    return replace(plain, cos=plain.cos[:1].expand_as(plain.cos), sin=plain.sin[:1].expand_as(plain.sin))


MISTAKES = {
    "rope-missing": lambda plain: replace(plain, turns=False),
    "rope-other-style": other_style,
    "rope-backwards": lambda plain: replace(plain, sin=-plain.sin),
    "rope-tables-interleaved": neighbours,
    "rope-tables-bfloat16": coarse,
    "rope-positions-ignored": positions_ignored,
    "rope-positions-of-first-batch-element": positions_of_first_batch_element,
    "rope-cos-sin-swapped": lambda plain: replace(plain, cos=plain.sin, sin=plain.cos),
}
