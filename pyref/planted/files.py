"""Mistakes with the files of inputs, weights and outputs: the order of numbers in them."""

from collections.abc import Callable
from functools import partial

from pyref.build.pinned_torch import torch
from pyref.planted.plain_attention import PlainAttention, Wrong
from pyref.planted.weights import with_weights

Tensor = torch.Tensor


def column_major(x: Tensor) -> Tensor:
    """Write in Fortran order, and read in C order."""
    return x.permute(*range(x.ndim - 1, -1, -1)).reshape(x.shape)


def input_read_as(plain: PlainAttention, read: Callable[[Tensor], Tensor]) -> PlainAttention:
    """Read query, key and value by another rule."""

    class OtherInput(PlainAttention):
        def read_input(self, x: Tensor) -> Tensor:
            return read(x)

    return plain.using(OtherInput)


def inputs_column_major(plain: PlainAttention) -> Wrong:
    """Read query, key and value in Fortran order although they are in C order."""

    def read(x: Tensor) -> Tensor:
        backwards = range(x.ndim - 1, -1, -1)
        return x.reshape([x.shape[d] for d in backwards]).permute(*backwards).contiguous()

    return input_read_as(plain, read)


def inputs_stored_column_major(plain: PlainAttention) -> Wrong:
    """Read query, key and value in C order although they are in Fortran order."""
    return input_read_as(plain, column_major)


def inputs_sequence_first(plain: PlainAttention) -> Wrong:
    """Lay a layer's inputs out as (T, B, D), and read them as (B, T, D)."""
    if not plain.is_layer or plain.batch == 1:
        return None
    return input_read_as(plain, lambda x: x.transpose(0, 1).reshape(x.shape))


def inputs_time_reversed(plain: PlainAttention) -> Wrong:
    """Read query, key and value from the last token to the first."""
    return input_read_as(plain, lambda x: x.flip(-2))


def inputs_of_another_element(plain: PlainAttention, order: Callable[[Tensor], Tensor]) -> Wrong:
    """Read the inputs of other batch elements. None if elements have only inputs of their own."""
    masks = [mask for mask in (plain.allow, plain.bias) if mask is not None]
    own = plain.past_len > 0 or plain.padding is not None or isinstance(plain.first_position, Tensor)
    if plain.batch == 1 or not (own or any(len(mask) > 1 for mask in masks)):
        return None
    return input_read_as(plain, order)


def weights_read_as(plain: PlainAttention, read: Callable[[Tensor], Tensor]) -> Wrong:
    """Read every weight by another rule."""
    if not plain.is_layer:
        return None
    return with_weights(plain, **{role: read(weight) for role, weight in plain.weights.items()})


def weights_column_major(plain: PlainAttention) -> Wrong:
    """Read every weight in the wrong order."""
    return weights_read_as(plain, column_major)


def output_weight_column_major(plain: PlainAttention) -> Wrong:
    """Read the output weight in the wrong order."""
    if not plain.is_layer:
        return None
    return with_weights(plain, output=column_major(plain.weights["output"]))


def weights_bfloat16_as_float16(plain: PlainAttention) -> Wrong:
    """Read the bits of bfloat16 weights as float16."""
    return weights_read_as(plain, lambda weight: weight.bfloat16().view(torch.float16).to(weight.dtype))


def weights_shifted_by_a_row(plain: PlainAttention) -> Wrong:
    """Read every weight one row too late."""
    return weights_read_as(plain, lambda weight: weight.roll(1, dims=0))


def output_written_as(plain: PlainAttention, write: Callable[[Tensor], Tensor]) -> PlainAttention:
    """Write the output by another rule."""

    class OtherOutput(PlainAttention):
        def write_output(self, output: Tensor) -> Tensor:
            return write(output)

    return plain.using(OtherOutput)


def output_shifted_by_a_row(plain: PlainAttention) -> Wrong:
    """Write each row to the place of the next."""
    if plain.seq_q == 1:
        return None

    def write(y: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(y[..., :1, :]), y[..., :-1, :]], dim=-2)

    return output_written_as(plain, write)


def output_sequence_first(plain: PlainAttention) -> Wrong:
    """Write a layer's output (B, L, D) as (L, B, D)."""
    if not plain.is_layer or 1 in (plain.batch, plain.seq_q):
        return None
    return output_written_as(plain, lambda y: y.transpose(0, 1).reshape(y.shape))


def output_column_major(plain: PlainAttention) -> Wrong:
    """Write the output in the wrong order."""
    return output_written_as(plain, column_major)


def output_time_reversed(plain: PlainAttention) -> Wrong:
    """Write the rows from the last to the first."""
    if plain.seq_q == 1:
        return None
    return output_written_as(plain, lambda y: y.flip(-2))


def output_first_batch_only(plain: PlainAttention) -> Wrong:
    """Compute the first batch element, and leave the others at zero."""
    if plain.batch == 1:
        return None
    return output_written_as(plain, lambda y: torch.cat([y[:1], torch.zeros_like(y[1:])]))


MISTAKES = {
    "inputs-column-major": inputs_column_major,
    "inputs-stored-column-major": inputs_stored_column_major,
    "inputs-sequence-first": inputs_sequence_first,
    "inputs-time-reversed": inputs_time_reversed,
    "inputs-of-the-next-element": partial(inputs_of_another_element, order=lambda x: x.roll(-1, dims=0)),
    "inputs-of-the-next-element-reversed": partial(inputs_of_another_element, order=lambda x: x.flip(0)),
    "inputs-of-the-next-element-back": partial(inputs_of_another_element, order=lambda x: x.roll(1, dims=0)),
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
