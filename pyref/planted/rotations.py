"""Mistakes with rotary positions. Keys in a cache are rotated already and stay as they are."""

from pyref.pinned import torch
from pyref.planted.plain import PlainAttention

Wrong = PlainAttention | None
Tensor = torch.Tensor

BASE = 10000  # that of RoFormer, and most implementations' default


def rope_missing(plain: PlainAttention) -> Wrong:
    """Do not rotate."""
    return None if plain.rope is None else plain.changed(rope=None)


def rope_other_style(plain: PlainAttention) -> Wrong:
    """Rotate neighbours for halves, or halves for neighbours."""
    if plain.rope is None:
        return None
    return plain.rope_with(style="interleaved" if plain.rope.style == "half" else "half")


def row_order(plain: PlainAttention, backwards: bool) -> Tensor:
    """Return the row of its head that each row of a head is taken from.

    It takes pairs of this case's style to the places of the other style's, or, backwards, the other
    style's to the places of this one's.
    """
    r = plain.rope.dim
    interleaved = torch.arange(r).view(2, r // 2).T.flatten()
    halves = torch.arange(r).view(r // 2, 2).T.flatten()
    first = interleaved if (plain.rope.style == "half") != backwards else halves
    return torch.cat([first, torch.arange(r, plain.E)])


def permuted(plain: PlainAttention, x: Tensor, backwards: bool = False) -> Tensor:
    """Return a weight or a bias with the rows of each head in the other order."""
    return x.unflatten(0, (-1, plain.E))[:, row_order(plain, backwards)].flatten(0, 1)


def permute_rows(plain: PlainAttention, roles: tuple[str, ...], backwards: bool = False) -> Wrong:
    """Put the rows of some projections into the other order."""
    if plain.rope is None:
        return None
    weights = {role: permuted(plain, plain.weights[role], backwards) for role in roles}
    biases = {role: permuted(plain, plain.biases[role], backwards) for role in roles if role in plain.biases}
    return plain.reweighted(**weights).rebiased(**biases)


def rope_weights_unpermuted(plain: PlainAttention) -> Wrong:
    """Use query and key weights in the order of the other style."""
    return permute_rows(plain, ("query", "key"))


def rope_weights_permuted_twice(plain: PlainAttention) -> Wrong:
    """Put query and key weights that are in this style's order into it again."""
    return permute_rows(plain, ("query", "key"), backwards=True)


def rope_biases_unpermuted(plain: PlainAttention) -> Wrong:
    """Use biases of query and key in the order of the other style."""
    if plain.rope is None or not {"query", "key"} <= plain.biases.keys():
        return None
    return plain.rebiased(**{role: permuted(plain, plain.biases[role]) for role in ("query", "key")})


def rope_query_permuted_alone(plain: PlainAttention) -> Wrong:
    """Use the key's weights alone in the order of the other style."""
    return permute_rows(plain, ("key",))


def rope_query_one_ahead(plain: PlainAttention) -> Wrong:
    """Count the queries' positions from one."""

    def positions(self: PlainAttention, x: Tensor, role: str) -> Tensor:
        return PlainAttention.positions(self, x, role) + (role == "query")

    return None if plain.rope is None else plain.changed(positions=positions)


def rope_base_wrong(plain: PlainAttention) -> Wrong:
    """Take a base fifty times as large."""
    return None if plain.rope is None else plain.rope_with(base=50 * plain.rope.base)


def rope_base_default(plain: PlainAttention) -> Wrong:
    """Take the usual base where the case has another."""
    return None if plain.rope is None or plain.rope.base == BASE else plain.rope_with(base=BASE)


def rotating(plain: PlainAttention, *roles: str) -> Wrong:
    """Rotate some of query, key and value."""

    def prepare(self: PlainAttention, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
        normed = {"query": self.norm(q, "query"), "key": self.norm(k, "key"), "value": v}
        return tuple(self.rotate(x, role) if role in roles else x for role, x in normed.items())

    return None if plain.rope is None else plain.changed(prepare=prepare)


def rope_query_only(plain: PlainAttention) -> Wrong:
    """Do not rotate the keys."""
    return rotating(plain, "query")


def rope_key_only(plain: PlainAttention) -> Wrong:
    """Do not rotate the queries."""
    return rotating(plain, "key")


def rope_on_values(plain: PlainAttention) -> Wrong:
    """Rotate the values, too."""
    return rotating(plain, "query", "key", "value")


def rope_backwards(plain: PlainAttention) -> Wrong:
    """Rotate the other way."""
    if plain.rope is None:
        return None
    return plain.changed(tables=lambda self, angles: (angles.cos(), -angles.sin()))


def rope_position_is_head(plain: PlainAttention) -> Wrong:
    """Take the position from the axis of the heads."""

    def positions(self: PlainAttention, x: Tensor, role: str) -> Tensor:
        return torch.arange(x.shape[1], dtype=self.dtype)[:, None]

    return None if plain.rope is None else plain.changed(positions=positions)


def rope_exponent_halved(plain: PlainAttention) -> Wrong:
    """Give pair i the exponent -i/r."""
    if plain.rope is None:
        return None
    return plain.changed(exponents=lambda self: PlainAttention.exponents(self) / 2)


def rope_exponent_odd(plain: PlainAttention) -> Wrong:
    """Give pair i the exponent -(2i + 1)/r."""
    if plain.rope is None:
        return None
    return plain.changed(exponents=lambda self: PlainAttention.exponents(self) + 1 / self.rope.dim)


def rope_tables_interleaved(plain: PlainAttention) -> Wrong:
    """Repeat each cosine and sine next to itself, and rotate halves."""

    def turn(self: PlainAttention, x: Tensor, angles: Tensor) -> Tensor:
        r = self.rope.dim
        cos, sin = (table.repeat_interleave(2, dim=-1) for table in self.tables(angles))
        rotary = x[..., :r]
        rotated_half = torch.cat([-rotary[..., r // 2 :], rotary[..., : r // 2]], dim=-1)
        return torch.cat([rotary * cos + rotated_half * sin, x[..., r:]], dim=-1)

    return None if plain.rope is None else plain.changed(turn=turn)


def is_partial(plain: PlainAttention) -> bool:
    """Report whether some of a head's features are not rotated."""
    return plain.rope is not None and plain.rope.dim < plain.E


def rope_whole_head(plain: PlainAttention) -> Wrong:
    """Rotate every feature where some are to stay."""
    return plain.rope_with(dim=plain.E) if is_partial(plain) and plain.E % 2 == 0 else None


def rope_frequencies_of_head(plain: PlainAttention) -> Wrong:
    """Divide the exponents by the width of the head."""
    if not is_partial(plain):
        return None
    return plain.changed(
        exponents=lambda self: PlainAttention.exponents(self) * self.rope.dim / self.E,
    )


def rope_factor_ignored(plain: PlainAttention) -> Wrong:
    """Do not divide the positions."""
    return None if plain.rope is None or plain.rope.factor == 1 else plain.rope_with(factor=1)


def rope_before_split(plain: PlainAttention) -> Wrong:
    """Rotate the vector of all heads as if it were that of one."""
    if plain.rope is None or plain.H == 1:
        return None

    def rotate(self: PlainAttention, x: Tensor, role: str) -> Tensor:
        flat = x.transpose(1, 2).flatten(-2)[:, None]
        whole = plain.rope_with(dim=flat.shape[-1])
        return self.split(PlainAttention.rotate(whole, flat, role)[:, 0], x.shape[1])

    return plain.changed(rotate=rotate)


def rope_tables_bfloat16(plain: PlainAttention) -> Wrong:
    """Keep cosine and sine in bfloat16."""

    def tables(self: PlainAttention, angles: Tensor) -> tuple[Tensor, Tensor]:
        return tuple(table.bfloat16().to(self.dtype) for table in (angles.cos(), angles.sin()))

    return None if plain.rope is None else plain.changed(tables=tables)


MISTAKES = {
    "rope-missing": rope_missing,
    "rope-other-style": rope_other_style,
    "rope-weights-unpermuted": rope_weights_unpermuted,
    "rope-weights-permuted-twice": rope_weights_permuted_twice,
    "rope-biases-unpermuted": rope_biases_unpermuted,
    "rope-query-permuted-alone": rope_query_permuted_alone,
    "rope-query-one-ahead": rope_query_one_ahead,
    "rope-base-wrong": rope_base_wrong,
    "rope-base-default": rope_base_default,
    "rope-query-only": rope_query_only,
    "rope-key-only": rope_key_only,
    "rope-on-values": rope_on_values,
    "rope-backwards": rope_backwards,
    "rope-position-is-head": rope_position_is_head,
    "rope-exponent-halved": rope_exponent_halved,
    "rope-exponent-odd": rope_exponent_odd,
    "rope-tables-interleaved": rope_tables_interleaved,
    "rope-whole-head": rope_whole_head,
    "rope-frequencies-of-head": rope_frequencies_of_head,
    "rope-factor-ignored": rope_factor_ignored,
    "rope-before-split": rope_before_split,
    "rope-tables-bfloat16": rope_tables_bfloat16,
}
