"""The plain attention of a case, built from its configuration, inputs and parameters."""

from pyref.build.pinned_torch import torch
from pyref.ops.layouts import ROLES, Widths
from pyref.ops.operation import Arrays, Operation, Precision
from pyref.ops.tensors import to_torch
from pyref.planted.plain_attention import PlainAttention, Rope
from pyref.planted.rotary import PlainRotation, plain_rotation
from pyref.planted.state_dict import Parameters, separated


def plain_attention(
    operation: Operation, inputs: Arrays, parameters: Arrays, precision: Precision = "float64"
) -> PlainAttention | PlainRotation:
    """Return the attention or the rotation of a case, which will compute in `precision`."""
    config, tensors = operation.config, to_torch(inputs, precision)
    if operation.name == "rotary_embedding":
        return plain_rotation(config, tensors)
    if operation.name == "multi_head_attention":
        prefix = config.get("prefix", "")
        state = {name.removeprefix(prefix): x for name, x in to_torch(parameters, precision).items()}
        return layer(config, tensors, state)
    return function(config, tensors)


def function(config: dict, tensors: Parameters) -> PlainAttention:
    """Return scaled_dot_product_attention, with every tensor in four dimensions."""
    query, key, value = (tensors[role][(None,) * (4 - tensors[role].ndim)] for role in ROLES)
    query = query.expand(len(key), -1, -1, -1)
    num_heads, seq_q, head_dim = query.shape[1:]
    past = {name: tensors[name] for name in ("past_key", "past_value") if name in tensors}
    past_len = past["past_key"].shape[-2] if past else 0
    seq_kv, padding = past_len + key.shape[-2], None
    if "key_lengths" in tensors:
        padding = torch.arange(seq_kv) >= tensors["key_lengths"][:, None]
    masks = {name: tensors[name] for name in ("allow", "bias") if name in tensors}
    return PlainAttention(
        query=query,
        key=key,
        value=value,
        num_heads=num_heads,
        num_kv_heads=key.shape[1],
        scale=head_dim**-0.5 if config["scale"] is None else config["scale"],
        causal=config["causality"] != "none",
        first_position=first_position(config, tensors, seq_kv - seq_q, past_len),
        empty_row=config["empty_row"],
        padding=padding,
        **past,
        **common(config, tensors),
        **{name: mask[(None,) * (4 - mask.ndim)] for name, mask in masks.items()},
    )


def first_position(config: dict, tensors: Parameters, last: int, past_len: int) -> int | torch.Tensor:
    """Return the key at which query 0 stands, (B, 1, 1, 1) if it differs by batch element.

    `last` is that key if the last query stands at the last of all keys.
    """
    if "first_positions" in tensors:
        return tensors["first_positions"].view(-1, 1, 1, 1)
    if config["causality"] != "lower-right":
        return past_len
    if "key_lengths" not in tensors:
        return last
    return (last - (past_len + tensors["key"].shape[-2]) + tensors["key_lengths"]).view(-1, 1, 1, 1)


def layer(config: dict, tensors: Parameters, state: Parameters) -> PlainAttention:
    """Return multi_head_attention, with every input as (B, T, D)."""
    widths = widths_of(config)
    weights, biases = separated(state, config["keys"], widths)
    input_layout = config.get("input_layout", "batch-first")
    # Roles that share a tensor share the result, too: is_self_attention tests for the same object.
    arranged = {id(x): batch_first(x, input_layout) for x in tensors.values()}
    query, key, value = (arranged[id(tensors[role])] for role in ROLES)
    norms = {"query": state["q_norm.weight"], "key": state["k_norm.weight"]} if "qk_norm" in config else {}
    past_key = tensors.get("past_key")
    return PlainAttention(
        query=query,
        key=key,
        value=value,
        num_heads=widths.num_heads,
        num_kv_heads=widths.num_kv_heads,
        scale=config.get("scale", widths.head_dim**-0.5),
        causal=config["causality"] != "none",
        first_position=0 if past_key is None else past_key.shape[-2],
        empty_row=config["empty_row"],
        weights=weights,
        biases=biases,
        norm_weights=norms,
        norm_eps=config.get("qk_norm", {}).get("eps", 0.0),
        rope=Rope(**config["rope"]) if "rope" in config else None,
        past_key=past_key,
        past_value=tensors.get("past_value"),
        bias_k=state.get("bias_k"),
        bias_v=state.get("bias_v"),
        add_zero_attn=config.get("add_zero_attn", False),
        relative_bias=state.get("relative_bias.weight"),
        **common(config, state),
        **layer_masks(tensors, len(query), widths.num_heads),
    )


def widths_of(config: dict) -> Widths:
    """Return the widths of a layer; absent fields have PyTorch's defaults."""
    embed_dim, num_heads = config["embed_dim"], config["num_heads"]
    return Widths(
        embed_dim=embed_dim,
        kdim=config["kdim"],
        num_heads=num_heads,
        num_kv_heads=config.get("num_kv_heads", num_heads),
        head_dim=config.get("head_dim", embed_dim // num_heads),
    )


def layer_masks(tensors: Parameters, batch: int, num_heads: int) -> Parameters:
    """Return a layer's masks as `allow` or `bias` (B or 1, H or 1, L, S) and `padding` (B, S)."""
    masks = {name: tensors[name] for name in ("block", "bias") if name in tensors}
    masks = {
        name: x.unflatten(0, (-1, num_heads)) if x.ndim == 3 else x[None, None] for name, x in masks.items()
    }
    if "block" in masks:
        masks["allow"] = ~masks.pop("block")
    if "padding" in tensors:
        masks["padding"] = tensors["padding"].view(batch, -1)
    return masks


def common(config: dict, tensors: Parameters) -> dict:
    """Return the fields that functions and layers share."""
    return {
        "softcap": config.get("softcap"),
        "alibi": config.get("alibi", False),
        "window": config.get("window"),
        "sinks": tensors.get("sinks"),
    }


def batch_first(x: torch.Tensor, input_layout: str) -> torch.Tensor:
    """Return a layer's input as (B, T, D)."""
    if input_layout == "unbatched":
        return x[None]
    return x.transpose(0, 1) if input_layout == "sequence-first" else x


def as_recorded(output: torch.Tensor, operation: Operation, ndim: int) -> torch.Tensor:
    """Return an output in the case's input layout and number of dimensions."""
    if operation.config.get("input_layout") == "sequence-first":
        return output.transpose(0, 1)
    return output[0] if ndim < output.ndim else output
