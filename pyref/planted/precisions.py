"""Mistakes of fewer bits: what is rounded, and to what. The arithmetic around it stays that of float64."""

from collections.abc import Callable

from pyref.pinned import torch
from pyref.planted.plain import PlainAttention

Wrong = PlainAttention | None
Tensor = torch.Tensor
Rounding = Callable[[Tensor], Tensor]

LEARNED = ("relative", "sinks", "learned_key", "learned_value")


def float16(x: Tensor) -> Tensor:
    """Round to float16."""
    return x.half().to(x.dtype)


def bfloat16(x: Tensor) -> Tensor:
    """Round to bfloat16."""
    return x.bfloat16().to(x.dtype)


def tf32(x: Tensor) -> Tensor:
    """Round the significand to 11 bits."""
    significand, exponent = torch.frexp(x)
    return torch.ldexp(torch.round(significand * 2**11), exponent - 11)


def parameters_rounded(plain: PlainAttention, rounding: Rounding) -> PlainAttention:
    """Round all that is learned."""
    learned = {name: rounding(getattr(plain, name)) for name in LEARNED if getattr(plain, name) is not None}
    groups = {
        name: {role: rounding(x) for role, x in getattr(plain, name).items()}
        for name in ("weights", "biases", "norms")
    }
    return plain.changed(**groups, **learned)


def inputs_rounded(plain: PlainAttention, rounding: Rounding) -> PlainAttention:
    """Round queries, keys and values, new ones and those of the cache."""
    past = {} if plain.past_key is None else {"past_key": rounding(plain.past_key)}
    past |= {} if plain.past_value is None else {"past_value": rounding(plain.past_value)}
    return plain.changed(read=lambda self, x: rounding(x), **past)


def lower(rounding: Rounding) -> Callable[[PlainAttention], Wrong]:
    """Round what is given. What is rounded later depends on the order of adding."""
    return lambda plain: inputs_rounded(parameters_rounded(plain, rounding), rounding)


def precision_tf32(plain: PlainAttention) -> Wrong:
    """Round the factors of the first products: inputs and weights, not biases."""
    weights = {role: tf32(weight) for role, weight in plain.weights.items()}
    return inputs_rounded(plain.reweighted(**weights), tf32)


def weights(rounding: Rounding) -> Callable[[PlainAttention], Wrong]:
    """Round the parameters of a layer."""
    return lambda plain: parameters_rounded(plain, rounding) if plain.is_layer else None


def int8(x: Tensor, largest: Tensor) -> Tensor:
    """Round to 127 steps on either side of zero."""
    scale = largest / 127
    return torch.where(scale > 0, (x / scale).round() * scale, x)


def weights_int8(plain: PlainAttention) -> Wrong:
    """Quantise each weight, with a scale for each of its rows."""
    if not plain.is_layer:
        return None
    return plain.reweighted(
        **{role: int8(w, w.abs().amax(dim=1, keepdim=True)) for role, w in plain.weights.items()}
    )


def weights_int8_per_tensor(plain: PlainAttention) -> Wrong:
    """Quantise each weight, with one scale."""
    if not plain.is_layer:
        return None
    return plain.reweighted(**{role: int8(w, w.abs().max()) for role, w in plain.weights.items()})


def output(rounding: Rounding) -> Callable[[PlainAttention], Wrong]:
    """Round the result."""
    return lambda plain: plain.changed(finish=lambda self, result: rounding(result))


MISTAKES = {
    "precision-float16": lower(float16),
    "precision-bfloat16": lower(bfloat16),
    "precision-tf32": precision_tf32,
    "weights-float16": weights(float16),
    "weights-bfloat16": weights(bfloat16),
    "weights-int8": weights_int8,
    "weights-int8-per-tensor": weights_int8_per_tensor,
    "output-float16": output(float16),
    "output-bfloat16": output(bfloat16),
}
