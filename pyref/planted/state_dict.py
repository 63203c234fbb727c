"""The weights (out, in) and biases of a layer's projections, by role, out of its state dict."""

from pyref.build.pinned_torch import torch
from pyref.ops.layouts import LAYOUTS, ROLES, Widths

Parameters = dict[str, torch.Tensor]  # by role; a role without a bias has no entry

SEPARATE = {
    "torch-separate": ("q_proj_weight", "k_proj_weight", "v_proj_weight"),
    "seed": ("W_Q", "W_K", "W_V"),
}


def separated(state: Parameters, keys: str, widths: Widths) -> tuple[Parameters, Parameters]:
    """Return weights and biases from a state dict in the layout `keys` of case.json."""
    if keys in LAYOUTS:
        projections = LAYOUTS[keys].split(widths, state)
        weights = {role: projection.weight for role, projection in projections.items()}
        biases = {role: projection.bias for role, projection in projections.items()}
        return weights, {role: bias for role, bias in biases.items() if bias is not None}
    if keys == "torch" and "in_proj_weight" in state:
        inputs = state["in_proj_weight"].chunk(3)
    else:
        inputs = [state[name] for name in SEPARATE["seed" if keys == "seed" else "torch-separate"]]
    weights = dict(zip(ROLES, inputs, strict=True))
    weights["output"] = state["W_O" if keys == "seed" else "out_proj.weight"]
    biases = {}
    if "in_proj_bias" in state:
        biases = dict(zip(ROLES, state["in_proj_bias"].chunk(3), strict=True))
        biases["output"] = state["out_proj.bias"]
    return weights, biases
