"""The parameters of a layer, out of its state dict: a weight (out, in) and a bias for each projection."""

from pyref.pinned import torch

ROLES = ("query", "key", "value", "output")
INPUTS = ROLES[:3]

Parameters = dict[str, torch.Tensor]  # a weight or a bias by role; a bias that there is not is missing

SEPARATE = {
    "torch-separate": ("q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight"),
    "seed": ("W_Q", "W_K", "W_V", "W_O"),
    "llama": ("q_proj.weight", "k_proj.weight", "v_proj.weight", "o_proj.weight"),
}
FUSED = {
    "torch": ("in_proj_weight", "out_proj.weight"),
    "gpt2": ("c_attn.weight", "c_proj.weight"),
    "neox": ("query_key_value.weight", "dense.weight"),
    "fused": ("qkv_proj.weight", "o_proj.weight"),
}


def separated(state: Parameters, keys: str, H: int, Hk: int, E: int) -> tuple[Parameters, Parameters]:
    """Return the weights and the biases by role from a state dict in the layout that `keys` names."""
    if keys == "torch" and "in_proj_weight" not in state:
        keys = "torch-separate"
    if keys in SEPARATE:
        weights = {role: state[name] for role, name in zip(ROLES, SEPARATE[keys], strict=True)}
        names = {role: bias_name(name) for role, name in zip(ROLES, SEPARATE[keys], strict=True)}
        biases = {role: state[name] for role, name in names.items() if name in state}
        if "in_proj_bias" in state:
            biases |= rows(state["in_proj_bias"], keys, H, Hk, E)
        return weights, biases
    inputs, output = FUSED[keys]
    transposed = keys == "gpt2"
    fused = state[inputs].T if transposed else state[inputs]
    weights = rows(fused, keys, H, Hk, E)
    weights["output"] = state[output].T if transposed else state[output]
    biases = rows(state[bias_name(inputs)], keys, H, Hk, E) if bias_name(inputs) in state else {}
    if bias_name(output) in state:
        biases["output"] = state[bias_name(output)]
    return weights, biases


def bias_name(weight: str) -> str:
    """Return the name of the bias that belongs to a weight."""
    return weight.removesuffix("weight") + "bias"


def rows(fused: torch.Tensor, keys: str, H: int, Hk: int, E: int) -> Parameters:
    """Return the rows of query, key and value from a fused weight or bias."""
    if keys == "neox":
        groups = fused.unflatten(0, (Hk, H // Hk + 2, E))
        query, key, value = groups[:, :-2], groups[:, -2], groups[:, -1]
        return {"query": query.flatten(0, 2), "key": key.flatten(0, 1), "value": value.flatten(0, 1)}
    query, key, value = fused.split([H * E, Hk * E, Hk * E])
    return {"query": query, "key": key, "value": value}
