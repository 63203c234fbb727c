"""Mistakes of fewer bits: some values are rounded, and all arithmetic around them stays exact."""

from collections.abc import Callable
from dataclasses import replace

from pyref.build.pinned_torch import torch
from pyref.planted.plain_attention import PlainAttention, Wrong
from pyref.planted.weights import with_weights

Tensor = torch.Tensor
Rounding = Callable[[Tensor], Tensor]

LEARNED = ("relative_bias", "sinks", "bias_k", "bias_v")


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


def truncated(bits: int) -> Rounding:
    """Return the rounding that drops all but the first bits of the significand."""

    def rounding(x: Tensor) -> Tensor:
        significand, exponent = torch.frexp(x)
        return torch.ldexp(torch.trunc(significand * 2**bits), exponent - bits)

    return rounding


def parameters_rounded(plain: PlainAttention, rounding: Rounding) -> PlainAttention:
    """Round every learned parameter."""
    learned = {name: rounding(getattr(plain, name)) for name in LEARNED if getattr(plain, name) is not None}
    groups = {
        name: {role: rounding(x) for role, x in getattr(plain, name).items()}
        for name in ("weights", "biases", "norm_weights")
    }
    return replace(plain, **groups, **learned)


def inputs_rounded(plain: PlainAttention, rounding: Rounding) -> PlainAttention:
    """Round query, key and value, both new and cached."""

    class RoundedInput(PlainAttention):
        def read_input(self, x: Tensor) -> Tensor:
            return rounding(x)

    past = {} if plain.past_key is None else {"past_key": rounding(plain.past_key)}
    past |= {} if plain.past_value is None else {"past_value": rounding(plain.past_value)}
    return replace(plain, **past).using(RoundedInput)


def lower(rounding: Rounding) -> Callable[[PlainAttention], Wrong]:
    """Round inputs and parameters only: later roundings would depend on the order of adding."""
    return lambda plain: inputs_rounded(parameters_rounded(plain, rounding), rounding)


def factors(rounding: Rounding) -> Callable[[PlainAttention], Wrong]:
    """Round the factors of the first products, inputs and weights, but not the biases."""

    def wrong(plain: PlainAttention) -> Wrong:
        weights = {role: rounding(weight) for role, weight in plain.weights.items()}
        return inputs_rounded(with_weights(plain, **weights), rounding)

    return wrong


def weights(rounding: Rounding) -> Callable[[PlainAttention], Wrong]:
    """Round the parameters of a layer."""
    return lambda plain: parameters_rounded(plain, rounding) if plain.is_layer else None


def cache(dtype: torch.dtype) -> Callable[[PlainAttention], Wrong]:
    """Pass cached keys and values through another type."""

    def wrong(plain: PlainAttention) -> Wrong:
        if plain.past_key is None:
            return None
        past = {name: getattr(plain, name) for name in ("past_key", "past_value")}
        return replace(plain, **{name: x.to(dtype).to(x.dtype) for name, x in past.items()})

    return wrong


def int8(x: Tensor, largest: Tensor) -> Tensor:
    """Round to 127 steps on either side of zero."""
    scale = largest / 127
    return torch.where(scale > 0, (x / scale).round() * scale, x)


def weights_int8(plain: PlainAttention) -> Wrong:
    """Quantise each weight with one scale per row."""
    if not plain.is_layer:
        return None
    quantised = {role: int8(w, w.abs().amax(dim=1, keepdim=True)) for role, w in plain.weights.items()}
    return with_weights(plain, **quantised)


def weights_int8_per_tensor(plain: PlainAttention) -> Wrong:
    """Quantise each weight with a single scale."""
    if not plain.is_layer:
        return None
    return with_weights(plain, **{role: int8(w, w.abs().max()) for role, w in plain.weights.items()})


def output(rounding: Rounding) -> Callable[[PlainAttention], Wrong]:
    """Round the output."""

    class RoundedOutput(PlainAttention):
        def write_output(self, output: Tensor) -> Tensor:
            return rounding(output)

    return lambda plain: plain.using(RoundedOutput)


MISTAKES = {
    "precision-float16": lower(float16),
    "precision-bfloat16": lower(bfloat16),
    "precision-tf32": factors(tf32),
    "precision-bfloat16-factors": factors(bfloat16),
    "precision-tf32-truncated": factors(truncated(11)),
    "precision-bfloat16-truncated": lower(truncated(8)),
    "precision-bfloat16-factors-truncated": factors(truncated(8)),
    "weights-float16": weights(float16),
    "weights-bfloat16": weights(bfloat16),
    "weights-bfloat16-truncated": weights(truncated(8)),
    "weights-int8": weights_int8,
    "weights-int8-per-tensor": weights_int8_per_tensor,
    "cache-fp8-e4m3": cache(torch.float8_e4m3fn),
    "cache-fp8-e5m2": cache(torch.float8_e5m2),
    "output-float16": output(float16),
    "output-bfloat16": output(bfloat16),
    "output-bfloat16-truncated": output(truncated(8)),
}
