"""Mistakes in reading files of inputs and weights, and in writing the output's."""

from collections.abc import Callable

from pyref.pinned import torch
from pyref.planted.plain import PlainAttention

Wrong = PlainAttention | None
Tensor = torch.Tensor


def column_major(x: Tensor) -> Tensor:
    """Return what a file in Fortran order gives that is read in C order."""
    return x.permute(*range(x.ndim - 1, -1, -1)).reshape(x.shape)


def inputs_column_major(plain: PlainAttention) -> Wrong:
    """Read query, key and value, which are in C order, in Fortran order."""

    def read(self: PlainAttention, x: Tensor) -> Tensor:
        backwards = range(x.ndim - 1, -1, -1)
        return x.reshape([x.shape[d] for d in backwards]).permute(*backwards).contiguous()

    return plain.changed(read=read)


def inputs_sequence_first(plain: PlainAttention) -> Wrong:
    """Lay a layer's inputs out as (T, B, D), and take them for (B, T, D)."""
    if not plain.is_layer or plain.B == 1:
        return None

    def read(self: PlainAttention, x: Tensor) -> Tensor:
        return x.transpose(0, 1).reshape(x.shape)

    return plain.changed(read=read)


def inputs_time_reversed(plain: PlainAttention) -> Wrong:
    """Read query, key and value from the last token to the first."""
    return plain.changed(read=lambda self, x: x.flip(-2))


def reread(plain: PlainAttention, read: Callable[[Tensor], Tensor]) -> Wrong:
    """Read every weight otherwise."""
    if not plain.is_layer:
        return None
    return plain.reweighted(**{role: read(weight) for role, weight in plain.weights.items()})


def weights_column_major(plain: PlainAttention) -> Wrong:
    """Read every weight in the wrong order."""
    return reread(plain, column_major)


def output_weight_column_major(plain: PlainAttention) -> Wrong:
    """Read the output's weight in the wrong order."""
    if not plain.is_layer:
        return None
    return plain.reweighted(output=column_major(plain.weights["output"]))


def weights_bfloat16_as_float16(plain: PlainAttention) -> Wrong:
    """Read the bits of bfloat16 weights as those of float16."""
    return reread(plain, lambda weight: weight.bfloat16().view(torch.float16).to(weight.dtype))


def weights_shifted_by_a_row(plain: PlainAttention) -> Wrong:
    """Read every weight one row too late."""
    return reread(plain, lambda weight: weight.roll(1, dims=0))


def rewritten(plain: PlainAttention, write: Callable[[Tensor], Tensor]) -> Wrong:
    """Write the output otherwise."""
    return plain.changed(finish=lambda self, result: write(result))


def output_shifted_by_a_row(plain: PlainAttention) -> Wrong:
    """Write each row where the next belongs."""
    if plain.L == 1:
        return None
    return rewritten(plain, lambda y: torch.cat([torch.zeros_like(y[..., :1, :]), y[..., :-1, :]], dim=-2))


def output_sequence_first(plain: PlainAttention) -> Wrong:
    """Write a layer's output (B, L, D) as (L, B, D)."""
    if not plain.is_layer or 1 in (plain.B, plain.L):
        return None
    return rewritten(plain, lambda y: y.transpose(0, 1).reshape(y.shape))


def output_column_major(plain: PlainAttention) -> Wrong:
    """Write the output in the wrong order."""
    return rewritten(plain, column_major)


def output_time_reversed(plain: PlainAttention) -> Wrong:
    """Write the rows from the last to the first."""
    if plain.L == 1:
        return None
    return rewritten(plain, lambda y: y.flip(-2))


def output_first_batch_only(plain: PlainAttention) -> Wrong:
    """Compute the first batch element alone."""
    if plain.B == 1:
        return None
    return rewritten(plain, lambda y: torch.cat([y[:1], torch.zeros_like(y[1:])]))


MISTAKES = {
    "inputs-column-major": inputs_column_major,
    "inputs-sequence-first": inputs_sequence_first,
    "inputs-time-reversed": inputs_time_reversed,
    "weights-column-major": weights_column_major,
    "output-weight-column-major": output_weight_column_major,
    "weights-bfloat16-as-float16": weights_bfloat16_as_float16,
    "weights-shifted-by-a-row": weights_shifted_by_a_row,
    "output-shifted-by-a-row": output_shifted_by_a_row,
    "output-sequence-first": output_sequence_first,
    "output-column-major": output_column_major,
    "output-time-reversed": output_time_reversed,
    "output-first-batch-only": output_first_batch_only,
}
