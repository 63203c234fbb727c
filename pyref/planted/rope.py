"""Mistakes with rotary positions. Cached keys are rotated already and stay unchanged."""

from dataclasses import replace

from pyref.build.pinned_torch import torch
from pyref.planted.biases import with_biases
from pyref.planted.plain_attention import PlainAttention, Wrong
from pyref.planted.weights import with_weights

Tensor = torch.Tensor


def with_rope(plain: PlainAttention, **fields: object) -> PlainAttention:
    """Replace some fields of the rotary positions."""
    return replace(plain, rope=replace(plain.rope, **fields))


def rope_missing(plain: PlainAttention) -> Wrong:
    """Do not rotate."""
    return None if plain.rope is None else replace(plain, rope=None)


def rope_other_style(plain: PlainAttention) -> Wrong:
    """Rotate interleaved pairs instead of halves, or halves instead of interleaved pairs."""
    if plain.rope is None:
        return None
    return with_rope(plain, style="interleaved" if plain.rope.style == "half" else "half")


def row_order(plain: PlainAttention, backwards: bool) -> Tensor:
    """Return the source row of each row of a head.

    The order moves pairs from this case's style to the places of the other style, or, backwards,
    from the other style to this one.
    """
    dim = plain.rope.dim
    interleaved = torch.arange(dim).view(2, dim // 2).T.flatten()
    halves = torch.arange(dim).view(dim // 2, 2).T.flatten()
    rotary = interleaved if (plain.rope.style == "half") != backwards else halves
    return torch.cat([rotary, torch.arange(dim, plain.head_dim)])


def permuted(plain: PlainAttention, x: Tensor, backwards: bool = False) -> Tensor:
    """Return a weight or a bias with the rows of each head in the other order."""
    return x.unflatten(0, (-1, plain.head_dim))[:, row_order(plain, backwards)].flatten(0, 1)


def rows_permuted(plain: PlainAttention, roles: tuple[str, ...], backwards: bool = False) -> Wrong:
    """Put the rows of some projections into the other order."""
    if plain.rope is None:
        return None
    weights = {role: permuted(plain, plain.weights[role], backwards) for role in roles}
    biases = {role: permuted(plain, plain.biases[role], backwards) for role in roles if role in plain.biases}
    return with_biases(with_weights(plain, **weights), **biases)


def rope_weights_unpermuted(plain: PlainAttention) -> Wrong:
    """Use query and key weights in the row order of the other style."""
    return rows_permuted(plain, ("query", "key"))


def rope_weights_permuted_twice(plain: PlainAttention) -> Wrong:
    """Permute query and key weights again although they are in this style's order."""
    return rows_permuted(plain, ("query", "key"), backwards=True)


def rope_biases_unpermuted(plain: PlainAttention) -> Wrong:
    """Use query and key biases in the row order of the other style."""
    if plain.rope is None or not {"query", "key"} <= plain.biases.keys():
        return None
    return with_biases(plain, **{role: permuted(plain, plain.biases[role]) for role in ("query", "key")})


def rope_query_permuted_alone(plain: PlainAttention) -> Wrong:
    """Permute the query weights alone: the key weights keep the other style's order."""
    return rows_permuted(plain, ("key",))


def rope_query_one_ahead(plain: PlainAttention) -> Wrong:
    """Count the queries' positions from one."""

    class OneAhead(PlainAttention):
        def positions(self, x: Tensor, role: str) -> Tensor:
            return super().positions(x, role) + (role == "query")

    return None if plain.rope is None else plain.using(OneAhead)


def rotating(plain: PlainAttention, *roles: str) -> Wrong:
    """Rotate only some of query, key and value."""

    class OtherRoles(PlainAttention):
        def norm_and_rotate(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
            normed = {"query": self.rms_norm(q, "query"), "key": self.rms_norm(k, "key"), "value": v}
            return tuple(self.rotate(x, role) if role in roles else x for role, x in normed.items())

    return None if plain.rope is None else plain.using(OtherRoles)


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
    """Rotate in the other direction."""
    if plain.rope is None:
        return None

    class Backwards(PlainAttention):
        def cos_sin(self, angles: Tensor) -> tuple[Tensor, Tensor]:
            return angles.cos(), -angles.sin()

    return plain.using(Backwards)


def rope_position_is_head(plain: PlainAttention) -> Wrong:
    """Use the index of the head as the position."""

    class PositionIsHead(PlainAttention):
        def positions(self, x: Tensor, role: str) -> Tensor:
            return torch.arange(x.shape[1], dtype=self.dtype)[:, None]

    return None if plain.rope is None else plain.using(PositionIsHead)


def rope_exponent_halved(plain: PlainAttention) -> Wrong:
    """Give pair i the exponent -i/dim."""

    class HalfExponent(PlainAttention):
        def exponents(self) -> Tensor:
            return super().exponents() / 2

    return None if plain.rope is None else plain.using(HalfExponent)


def rope_exponent_odd(plain: PlainAttention) -> Wrong:
    """Give pair i the exponent -(2i + 1)/dim."""

    class OddExponent(PlainAttention):
        def exponents(self) -> Tensor:
            return super().exponents() + 1 / self.rope.dim

    return None if plain.rope is None else plain.using(OddExponent)


def rope_tables_interleaved(plain: PlainAttention) -> Wrong:
    """Repeat each cosine and sine next to itself, but rotate halves."""

    class InterleavedTables(PlainAttention):
        def apply_rotary_pos_emb(self, x: Tensor, angles: Tensor) -> Tensor:
            dim = self.rope.dim
            cos, sin = (table.repeat_interleave(2, dim=-1) for table in self.cos_sin(angles))
            rotary = x[..., :dim]
            rotated_half = torch.cat([-rotary[..., dim // 2 :], rotary[..., : dim // 2]], dim=-1)
            return torch.cat([rotary * cos + rotated_half * sin, x[..., dim:]], dim=-1)

    return None if plain.rope is None else plain.using(InterleavedTables)


def is_partial(plain: PlainAttention) -> bool:
    """Report whether some features of a head are not rotated."""
    return plain.rope is not None and plain.rope.dim < plain.head_dim


def rope_whole_head(plain: PlainAttention) -> Wrong:
    """Rotate every feature although some must stay."""
    if not is_partial(plain) or plain.head_dim % 2:
        return None
    return with_rope(plain, dim=plain.head_dim)


def rope_frequencies_of_head(plain: PlainAttention) -> Wrong:
    """Divide the exponents by the width of the head."""

    class FrequenciesOfHead(PlainAttention):
        def exponents(self) -> Tensor:
            return super().exponents() * self.rope.dim / self.head_dim

    return plain.using(FrequenciesOfHead) if is_partial(plain) else None


def rope_factor_ignored(plain: PlainAttention) -> Wrong:
    """Do not divide the positions."""
    return None if plain.rope is None or plain.rope.factor == 1 else with_rope(plain, factor=1)


def rope_one_axis_of_three(plain: PlainAttention) -> Wrong:
    """Give text positions in time alone, where the pairs go to time, height and width in turn."""
    if plain.rope is None:
        return None

    class TimeAlone(PlainAttention):
        def angles(self, positions: Tensor) -> Tensor:
            angles = super().angles(positions)
            in_time = torch.zeros_like(angles)
            in_time[..., ::3] = angles[..., ::3]
            return in_time

    return plain.using(TimeAlone)


def rope_before_split(plain: PlainAttention) -> Wrong:
    """Rotate the vector of all heads as if it were one head."""
    if plain.rope is None or plain.num_heads == 1:
        return None

    class BeforeSplit(PlainAttention):
        def rotate(self, x: Tensor, role: str) -> Tensor:
            flat = x.transpose(1, 2).flatten(-2)[:, None]
            whole = with_rope(plain, dim=flat.shape[-1])
            return self.split_heads(whole.rotate(flat, role)[:, 0], x.shape[1])

    return plain.using(BeforeSplit)


def rope_tables_bfloat16(plain: PlainAttention) -> Wrong:
    """Keep cosine and sine in bfloat16."""

    class CoarseTables(PlainAttention):
        def cos_sin(self, angles: Tensor) -> tuple[Tensor, Tensor]:
            return tuple(table.bfloat16().to(self.dtype) for table in (angles.cos(), angles.sin()))

    return None if plain.rope is None else plain.using(CoarseTables)


def by_tables_alone(plain: PlainAttention) -> Wrong:
    """Return None: pyref.planted.rotary makes the mistake where cosines and sines are given."""
    return None


MISTAKES = {
    "rope-missing": rope_missing,
    "rope-other-style": rope_other_style,
    "rope-weights-unpermuted": rope_weights_unpermuted,
    "rope-weights-permuted-twice": rope_weights_permuted_twice,
    "rope-biases-unpermuted": rope_biases_unpermuted,
    "rope-query-permuted-alone": rope_query_permuted_alone,
    "rope-query-one-ahead": rope_query_one_ahead,
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
    "rope-one-axis-of-three": rope_one_axis_of_three,
    "rope-before-split": rope_before_split,
    "rope-tables-bfloat16": rope_tables_bfloat16,
    "rope-positions-ignored": by_tables_alone,
    "rope-positions-of-first-batch-element": by_tables_alone,
    "rope-cos-sin-swapped": by_tables_alone,
}
