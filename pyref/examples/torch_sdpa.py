"""PyTorch's own attention kernels, one at a time, in one arithmetic.

    export PYTHONPATH=pyref
    difftest --case 'sdpa/**' -- python pyref/examples/torch_sdpa.py --backend flash

A case that the kernel refuses is skipped, with PyTorch's reason. On a CPU PyTorch has the kernels
math and flash. TensorFloat-32 is an arithmetic of CUDA devices.
"""

import argparse
import warnings

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from subject import serve

BACKENDS = {
    "math": SDPBackend.MATH,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
}
# How PyTorch's warnings call the kernels.
WORDS = {"math": "math", "flash": "flash", "efficient": "memory efficient", "cudnn": "cudnn"}
DTYPES = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


def arguments() -> argparse.Namespace:
    """Return the kernel, the device and the arithmetic."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--backend", choices=BACKENDS, default="math")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("folder", nargs="?", help="the folder of a case, which difftest --once adds")
    chosen = parser.parse_args()
    if chosen.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: PyTorch finds no CUDA device")
    if chosen.dtype == "tf32" and chosen.device == "cpu":
        parser.error("--dtype tf32: TensorFloat-32 needs --device cuda")
    return chosen


CHOSEN = arguments()
torch.backends.cuda.matmul.allow_tf32 = CHOSEN.dtype == "tf32"


def sdpa(
    query, key, value, *, config, allow=None, bias=None, sinks=None,
    past_key=None, past_value=None, key_lengths=None, first_positions=None,
):  # fmt: skip
    """Compute one case with the chosen kernel."""
    if config["softcap"] is not None or sinks is not None:
        raise NotImplementedError("scaled_dot_product_attention has neither softcap nor sinks")
    if past_key is not None:
        key, value = np.concatenate([past_key, key], axis=-2), np.concatenate([past_value, value], axis=-2)
    dtype = DTYPES[CHOSEN.dtype]
    tensors = [torch.tensor(np.asarray(x)).to(CHOSEN.device, dtype) for x in (query, key, value)]
    plain_causal = config["causality"] == "top-left" and allow is None and bias is None
    plain_causal = plain_causal and config["window"] is None and not config["alibi"]
    plain_causal = plain_causal and past_key is None and key_lengths is None and first_positions is None
    first = config["first_position"] if first_positions is None else by_element(first_positions)
    mask = (
        None if plain_causal else masks(config, first, query.shape, key.shape[-2], allow, bias, key_lengths)
    )
    if mask is not None:
        mask = mask.to(CHOSEN.device, torch.bool if mask.dtype == torch.bool else dtype)
        # A kernel takes masks of two or four dimensions.
        mask = mask[None] if mask.dim() == 3 and query.ndim == 4 else mask
    with warnings.catch_warnings(record=True) as said, sdpa_kernel(BACKENDS[CHOSEN.backend]):
        warnings.simplefilter("always")
        try:
            out = scaled_dot_product_attention(
                *tensors,
                attn_mask=mask,
                is_causal=plain_causal,
                scale=config["scale"],
                enable_gqa=config["enable_gqa"],
            )
        except RuntimeError as refusal:
            raise NotImplementedError(reason(refusal, said)) from refusal
    return out.float().cpu().numpy()


def reason(refusal: RuntimeError, said: list[warnings.WarningMessage]) -> str:
    """Return why the kernel refuses a case: the warning behind "not used because:"."""
    texts = [str(warning.message).partition(" (Triggered")[0] for warning in said]
    heads = [i for i, text in enumerate(texts) if "not used because" in text]
    own = [i for i in heads if WORDS[CHOSEN.backend] in texts[i].lower()]
    following = texts[own[0] + 1 :] if own else texts
    return f"{CHOSEN.backend}: {(following or [str(refusal)])[0]}"


def by_element(numbers):
    """Return numbers of the batch elements (B) in the shape (B, 1, 1, 1)."""
    return torch.tensor(np.asarray(numbers))[:, None, None, None]


def masks(config, first, shape, S, allow, bias, key_lengths):
    """Return one mask for everything that hides keys or is added to scores; None if nothing is."""
    distance = torch.arange(S) - torch.arange(shape[-2])[:, None] - first
    seen = torch.ones(distance.shape, dtype=torch.bool)
    if config["causality"] != "none":
        seen &= distance <= 0
    if config["window"] is not None:
        seen &= distance.abs() < config["window"]
    if allow is not None:
        seen = seen & torch.tensor(allow)
    if key_lengths is not None:
        seen = seen & (torch.arange(S) < by_element(key_lengths))
    added = None if bias is None else torch.tensor(np.asarray(bias)).double()
    if config["alibi"]:
        lost = -slopes(shape[-3])[:, None, None] * distance.abs()
        added = lost if added is None else added + lost
    if added is not None:
        return torch.where(seen, added, -torch.inf)
    return None if bool(seen.all()) else seen


def slopes(heads: int) -> torch.Tensor:
    """Return ALiBi's slopes, as the protocol defines them."""
    n = 1 << (heads.bit_length() - 1)
    return torch.tensor(
        [2 ** (-8 * (h + 1) / n) if h < n else 2 ** (-4 * (2 * (h - n) + 1) / n) for h in range(heads)],
        dtype=torch.float64,
    )


if __name__ == "__main__":
    precision = "" if CHOSEN.dtype == "float32" else CHOSEN.dtype
    serve(
        sdpa=sdpa,
        name=f"PyTorch {CHOSEN.backend} in {CHOSEN.dtype} on {CHOSEN.device}",
        version=torch.__version__,
        precision=precision,
    )
