"""PyTorch's own attention, served to difftest by a factory of modules.

difftest -- python -m pyref serve pyref/examples/torch_modules.py:make
"""

from types import SimpleNamespace

import torch


class Function(torch.nn.Module):
    """torch.nn.functional.scaled_dot_product_attention as a module."""

    def forward(self, query, key, value, attn_mask=None, scale=None, enable_gqa=False):
        """Call the function."""
        return torch.nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=attn_mask, scale=scale, enable_gqa=enable_gqa
        )


def make(config: SimpleNamespace) -> torch.nn.Module:
    """Return the function or nn.MultiheadAttention, and refuse cases that need more."""
    for name in ("softcap", "alibi", "rope", "qk_norm", "relative_bias"):
        if getattr(config, name, None):
            raise NotImplementedError(f"PyTorch has no {name}")
    if config.op == "scaled_dot_product_attention":
        return Function()
    if config.op != "multi_head_attention" or config.keys != "torch":
        raise NotImplementedError("this layer is not nn.MultiheadAttention")
    # On the fast path a fully masked query gives NaN.
    torch.backends.mha.set_fastpath_enabled(config.empty_row == "nan")
    return torch.nn.MultiheadAttention(
        config.embed_dim,
        config.num_heads,
        bias=config.bias,
        add_bias_kv=config.bias_kv,
        add_zero_attn=config.add_zero_attn,
        kdim=config.kdim,
        vdim=config.vdim,
        batch_first=config.input_layout == "batch-first",
    )
