"""The cases of the models, and their files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from pyref.build.pinned_torch import torch
from pyref.build.rng import Stream, digest
from pyref.capture import capture
from pyref.models.decoder import Settings
from pyref.zoo import bert, decoders, gpt2

Tensor = torch.Tensor

GROUP = "models"
TOKENS = 10
VOCABULARY = 31


def sizes(**more: object) -> Settings:
    """Return the sizes of a decoder. No two are equal, and heads do not add to the width."""
    plain = {"vocabulary": VOCABULARY, "width": 40, "inner": 52, "layers": 3, "heads": 4, "kv_heads": 2}
    return Settings(**(plain | {"head_size": 6} | more))


def llama() -> torch.nn.Module:
    """Return a Llama."""
    return decoders.LlamaForCausalLM(sizes(base=500.0))


def gemma2() -> torch.nn.Module:
    """Return a Gemma 2 whose caps and window count."""
    settings = sizes(
        activation="gelu", offset=1.0, scaled=True, window=4, score_cap=2.0, logit_cap=4.0, eps=1e-6
    )
    return decoders.Gemma2ForCausalLM(settings, scalar=9.0)


def qwen2_moe() -> torch.nn.Module:
    """Return a Qwen2-MoE."""
    return decoders.Qwen2MoeForCausalLM(sizes(layers=2), experts=6, chosen=2, inner=14, shared=22)


def glm4_moe() -> torch.nn.Module:
    """Return a GLM-4-MoE."""
    return decoders.Glm4MoeForCausalLM(sizes(layers=3), experts=6, chosen=3, inner=14, factor=1.7)


def gpt2_model() -> torch.nn.Module:
    """Return a GPT-2."""
    return gpt2.GPT2LMHeadModel(
        gpt2.Settings(
            vocab_size=VOCABULARY,
            n_positions=16,
            n_embd=40,
            n_layer=3,
            n_head=4,
            n_inner=52,
            layer_norm_epsilon=1e-3,
        )
    )


def bert_model() -> torch.nn.Module:
    """Return a BERT with labels."""
    return bert.BertForTokenClassification(
        bert.Settings(
            vocab_size=VOCABULARY,
            hidden_size=40,
            intermediate_size=52,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=16,
            layer_norm_eps=1e-3,
            num_labels=7,
        )
    )


CASES: dict[str, Callable[[], torch.nn.Module]] = {
    "llama": llama,
    "gemma2": gemma2,
    "gpt2": gpt2_model,
    "bert": bert_model,
    "moe-softmax": qwen2_moe,
    "moe-sigmoid": glm4_moe,
}


def write(folder: Path) -> int:
    """Write a case for each model below folder/models, and return their number."""
    for name, make in CASES.items():
        model = make().eval()
        stream = Stream(digest(f"{GROUP}/{name}", 4))
        shake(model, stream)
        capture(model, inputs(name, stream), f"{GROUP}/{name}", folder)
    return len(CASES)


def inputs(name: str, stream: Stream) -> dict[str, Tensor]:
    """Return three sequences of different lengths. Tokens repeat, and some never stand there."""
    lengths = torch.tensor([7, TOKENS, 9])
    ids = torch.from_numpy(stream.words("input_ids", (3, TOKENS)).astype(np.int64)) % (VOCABULARY - 4)
    given = {"input_ids": ids, "attention_mask": (torch.arange(TOKENS) < lengths[:, None]).long()}
    if name == "bert":
        given["token_type_ids"] = (torch.arange(TOKENS) >= lengths[:, None] // 2).long()
    return given


@torch.no_grad()
def shake(model: torch.nn.Module, stream: Stream) -> None:
    """Draw every parameter so that each mistake shows.

    No weight of a norm is one and no bias is zero. Embeddings are so small that eps counts.
    """
    offset = 1.0 if isinstance(model, decoders.Gemma2ForCausalLM) else 0.0
    for name, parameter in (*model.named_parameters(), *model.named_buffers()):
        drawn = torch.from_numpy(stream.normal(name, tuple(parameter.shape)).astype(np.float32))
        if parameter.dim() > 1:
            parameter.copy_(size(name, parameter) * drawn)
        else:
            norm = name.endswith("weight")
            parameter.copy_((1.0 - offset if norm else 0.0) + 0.2 * drawn)


def size(name: str, parameter: Tensor) -> float:
    """Return the deviation of a weight."""
    if any(word in name for word in ("embed", "wte", "wpe")):
        return 0.05
    inner = parameter.shape[0] if ".c_" in name else parameter.shape[-1]
    return inner**-0.5
