"""torch.nn.MultiheadAttention, captured as the layer that difftest can compute itself."""

from pathlib import Path

import numpy as np
import torch

from pyref import crosscheck
from pyref.capture import check, run
from pyref.capture.call import Call
from pyref.capture.padding import Padded


def describes(module: torch.nn.Module, call: Call) -> bool:
    """Report whether a module is this layer, called for its output.

    A subclass with a forward of its own may compute anything.
    """
    layer = torch.nn.MultiheadAttention
    if not isinstance(module, layer) or type(module).forward is not layer.forward:
        return False
    return "forward" not in vars(module) and not call.output and not call.nested


def describe(
    name: str, module: torch.nn.Module, call: Call, seed: int, padded: Padded
) -> tuple[str, dict, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return op, config, inputs and expected. difftest computes the layer's noise itself.

    The rows of padded queries are judged, because the oracle knows them.
    """
    inputs, empty = roles(name, call), empty_row(name, module, call)
    output = run.single(name, module, call)
    if empty == "zero" or not np.isfinite(output[0]).any():
        check.finite(name, "the output", output[0])
    # Without weights the float64 layer may take another path than the float32 one, on which a fully
    # masked query gives zero instead of NaN. With weights both give NaN.
    truth = run.double(name, module, call.with_arguments(need_weights=True) if empty == "nan" else call)
    check.same(name, "in float64 than in float32", output[0], truth[0])
    expected = {"output": output[0], "truth": truth[0]}
    if len(output) > 1:
        expected |= {"weights": output[1], "weights_truth": truth[1]}
    return (
        "multi_head_attention",
        config(module, call, len(output) > 1) | {"empty_row": empty},
        inputs,
        expected,
    )


def verify(name: str, folder: Path) -> None:
    """Raise ValueError unless NumPy gets the truth from the masks, without PyTorch's hint."""
    difference = crosscheck.deviation(folder)
    if not difference <= crosscheck.TOLERANCE:
        raise ValueError(
            f"{name}: the float64 output is {difference:.1e} away from the result of the masks, relative to"
            " its largest element; is_causal must agree with attn_mask"
        )


def roles(name: str, call: Call) -> dict[str, np.ndarray]:
    """Return the inputs by role. A padding of 0 and -inf, as in encoder layers, becomes bool."""
    inputs = {role: call.arrays[role] for role in ("query", "key", "value")}
    padding, mask = (call.arrays.get(argument) for argument in ("key_padding_mask", "attn_mask"))
    if mask is not None:
        inputs["block" if mask.dtype == np.bool_ else "bias"] = mask
    if padding is not None:
        if not np.isin(padding, (0, 1) if padding.dtype == np.bool_ else (0, -np.inf)).all():
            raise ValueError(
                f"{name}: key_padding_mask holds other values than 0 and -inf: add it to attn_mask"
            )
        inputs["padding"] = padding if padding.dtype == np.bool_ else padding == -np.inf
    return inputs


def config(module: torch.nn.MultiheadAttention, call: Call, weights: bool) -> dict:
    """Return the configuration from the module and the call, without default values."""
    averaged = "averaged" if call.plain.get("average_attn_weights", True) else "per-head"
    optional = {
        "input_layout": layout(module, call),
        "need_weights": averaged if weights else None,
        "bias_kv": module.bias_k is not None,
        "add_zero_attn": module.add_zero_attn,
    }
    return {
        "embed_dim": module.embed_dim,
        "num_heads": module.num_heads,
        "kdim": module.kdim,
        "vdim": module.vdim,
        "bias": module.in_proj_bias is not None,
        "keys": "torch",
        "causality": "none",  # masks say which keys are hidden
    } | {name: value for name, value in optional.items() if value}


def layout(module: torch.nn.MultiheadAttention, call: Call) -> str | None:
    """Return the layout of the inputs, None for the default (B, T, D)."""
    if call.arrays["query"].ndim == 2:
        return "unbatched"
    return None if module.batch_first else "sequence-first"


def empty_row(name: str, module: torch.nn.MultiheadAttention, call: Call) -> str:
    """Return the result for a fully masked query, "nan" or "zero".

    It depends on mode, weights and layout. So the layer is called once more with all keys hidden.
    """
    shape = call.arrays["key"].shape[:-1]
    hidden = np.ones(shape[::-1] if layout(module, call) == "sequence-first" else shape, dtype=bool)
    mask = call.arrays.get("attn_mask")
    if mask is not None and mask.dtype != np.bool_:
        hidden = np.where(hidden, np.float32("-inf"), np.float32(0))  # both masks must be float
    output = run.single(name, module, call.with_arguments(key_padding_mask=hidden))[0]
    return "nan" if np.isnan(output).any() else "zero"
