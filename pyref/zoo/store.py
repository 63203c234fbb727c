"""The cases of the models, and their files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from pyref.build.pinned_torch import torch
from pyref.build.rng import Stream, digest
from pyref.capture import capture
from pyref.models.decoder import Settings
from pyref.zoo import (
    bert,
    blocks,
    decoders,
    encoders,
    gpt2,
    images,
    kinds,
    neox,
    opt,
    recurrent,
    scaled,
    senses,
    sparse,
    state_spaces,
    t5,
)

Tensor = torch.Tensor

GROUPS = {"models", "blocks"}
TOKENS = 10
LENGTHS = torch.tensor([7, TOKENS, 9])
VOCABULARY = 31

# The shapes of inputs of floats, and their deviations unless 1.
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "whisper-encoder": {"input_features": (3, 10, 16)},
    "vit": {"pixel_values": (3, 3, 8, 12)},
    "dinov2": {"pixel_values": (3, 3, 8, 12)},
    "dinov2-swiglu": {"pixel_values": (3, 3, 8, 12)},
    "clip-vision": {"pixel_values": (3, 3, 8, 12)},
    "layer-norm": {"input": (3, 5, 24)},
    "rms-norm": {"x": (3, 5, 24)},
    "gemma-norm": {"x": (3, 5, 24)},
    "gate-before-norm": {"hidden_states": (3, 5, 24)},
    "gate-before-norm-groups": {"hidden_states": (3, 5, 24), "gate": (3, 5, 24)},
    "gate-behind-norm": {"hidden_states": (3, 5, 24), "gate": (3, 5, 24)},
    "llama-mlp": {"x": (3, 5, 24)},
    "gemma-mlp": {"x": (3, 5, 24)},
    "nemotron-mlp": {"x": (3, 5, 24)},
    "arcee-mlp": {"x": (3, 5, 24)},
    "falcon-h1-mlp": {"x": (3, 5, 20)},
    "experts-softmax": {"x": (3, 5, 24)},
    "experts-groups": {"x": (3, 5, 24)},
    "experts-limits": {"x": (3, 5, 24)},
    "mamba-mixer": {"hidden_states": (3, 7, 12)},
    "mamba2-groups": {"hidden_states": (3, 7, 12)},
    "attention-softcap": {"hidden_states": (3, 6, 24)},
    "gpt2-layers": {"hidden_states": (3, 6, 24)},
    "timesteps": {"timesteps": (4,)},
    "timesteps-flipped": {"timesteps": (4,)},
    "sentence-pooler": {"hidden_states": (3, 6, 24)},
    "bert-pooler": {"hidden_states": (3, 6, 24)},
    "head": {"hidden_states": (3, 5, 24)},
    "lstm": {"x": (3, 6, 5), "hidden": (4, 3, 4), "cells": (4, 3, 4)},
    "lstm-one-way": {"x": (6, 3, 5), "hidden": (1, 3, 7), "cells": (1, 3, 7)},
    "gru": {"x": (3, 7, 5), "hidden": (4, 3, 6)},
    "rnn": {"x": (3, 7, 5)},
    "convolutions": {"pixel_values": (3, 3, 10, 9)},
    "convolutions-over-time": {"x": (3, 4, 15)},
    "transposed": {"x": (3, 4, 4, 3)},
    "transposed-over-time": {"x": (3, 4, 6)},
    "interpolation": {"x": (3, 4, 7, 5)},
    "upsample-path": {"x": (3, 6, 5, 4)},
    "aligned-path": {"x": (3, 6, 5, 4)},
    "pools": {"x": (3, 4, 6, 4)},
    "resnet": {"pixel_values": (3, 3, 16, 12)},
    "mobilenet": {"pixel_values": (3, 3, 10, 8)},
}

# The norms take inputs so small that eps counts. The timesteps are large.
SIZES = {
    "rms-norm": 0.03,
    "gemma-norm": 0.01,
    "layer-norm": 0.3,
    "gate-before-norm": 0.2,
    "gate-before-norm-groups": 0.2,
    "gate-behind-norm": 0.1,
    "timesteps": 30.0,
    "timesteps-flipped": 30.0,
}
# A causal model hides padding that stands behind its tokens. So the first sequence begins with it.
CAUSAL = {
    "llama",
    "gemma2",
    "gpt2",
    "gpt2-scaled",
    "moe-softmax",
    "moe-sigmoid",
    "gemma3",
    "cohere2",
    "exaone4",
    "olmo2",
    "neox",
    "opt",
    "gpt-oss",
    "olmoe",
    "deepseek3",
    "granite",
}
# Their cases hold the graph for other shapes, too.
VARIED = {"models/gpt2", "models/llama", "models/bert", "models/moe-softmax"}
WITHOUT_PADDING = {"granite-hybrid", "falcon-h1", "mamba", "tagger", "embeddings"}


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


def gpt2_model(
    kind: type[gpt2.Settings] = gpt2.Settings, width: int = 40, inner: int = 52
) -> torch.nn.Module:
    """Return a GPT-2."""
    settings = kind(
        vocab_size=VOCABULARY,
        n_positions=16,
        n_embd=width,
        n_layer=3,
        n_head=4,
        n_inner=inner,
        layer_norm_epsilon=1e-3,
    )
    return gpt2.GPT2LMHeadModel(settings)


def gpt2_scaled() -> torch.nn.Module:
    """Return a GPT-2 whose scores are divided by the number of the layer."""
    return gpt2_model(gpt2.ScaledSettings, width=24, inner=36)


def bert_settings(**more: object) -> bert.Settings:
    """Return the sizes of a BERT."""
    return bert.Settings(
        **{
            "vocab_size": VOCABULARY,
            "hidden_size": 40,
            "intermediate_size": 52,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "max_position_embeddings": 16,
            "layer_norm_eps": 1e-3,
            "num_labels": 7,
        }
        | more
    )


def bert_model() -> torch.nn.Module:
    """Return a BERT with labels."""
    return bert.BertForTokenClassification(bert_settings())


def roberta() -> torch.nn.Module:
    """Return a RoBERTa with labels."""
    return encoders.RobertaForSequenceClassification(bert_settings(num_hidden_layers=2, num_labels=5))


def minilm() -> torch.nn.Module:
    """Return a BERT of sentences."""
    return encoders.SentenceEmbedding(
        bert_settings(num_hidden_layers=2, hidden_size=24, intermediate_size=36)
    )


MODELS: dict[str, Callable[[], torch.nn.Module]] = {
    "llama": llama,
    "gemma2": gemma2,
    "gpt2": gpt2_model,
    "gpt2-scaled": gpt2_scaled,
    "bert": bert_model,
    "moe-softmax": qwen2_moe,
    "moe-sigmoid": glm4_moe,
    "gemma3": kinds.Gemma3ForCausalLM,
    "cohere2": kinds.Cohere2ForCausalLM,
    "exaone4": kinds.Exaone4ForCausalLM,
    "olmo2": kinds.Olmo2ForCausalLM,
    "neox": neox.GPTNeoXForCausalLM,
    "opt": opt.OPTForCausalLM,
    "gpt-oss": sparse.GptOssForCausalLM,
    "olmoe": sparse.OlmoeForCausalLM,
    "deepseek3": sparse.DeepseekV3ForCausalLM,
    "granite": scaled.GraniteForCausalLM,
    "granite-hybrid": scaled.GraniteMoeHybridForCausalLM,
    "falcon-h1": scaled.FalconH1ForCausalLM,
    "mamba": state_spaces.MambaForCausalLM,
    "t5": t5.T5ForConditionalGeneration,
    "bart-encoder": opt.BartEncoder,
    "roberta": roberta,
    "minilm": minilm,
    "modernbert": encoders.ModernBertForTokenClassification,
    "whisper-encoder": senses.WhisperEncoder,
    "vit": senses.ViTForImageClassification,
    "dinov2": senses.Dinov2ForImageClassification,
    "dinov2-swiglu": lambda: senses.Dinov2ForImageClassification(gated=True),
    "clip-vision": senses.CLIPVisionModelWithProjection,
}

BLOCKS: dict[str, Callable[[], torch.nn.Module]] = {
    "layer-norm": lambda: torch.nn.LayerNorm(24, 1e-3),
    "rms-norm": blocks.LlamaRMSNorm,
    "gemma-norm": blocks.GemmaRMSNorm,
    "gate-before-norm": lambda: state_spaces.GatedProjection(24, 20),
    "gate-before-norm-groups": lambda: state_spaces.GatedNorm(24, 1e-5, groups=3),
    "gate-behind-norm": lambda: state_spaces.NormBeforeGate(24, 1e-5),
    "llama-mlp": blocks.LlamaMLP,
    "gemma-mlp": blocks.GemmaMLP,
    "nemotron-mlp": blocks.NemotronMLP,
    "arcee-mlp": blocks.ArceeMLP,
    "falcon-h1-mlp": lambda: scaled.FalconH1MLP(scaled.falcon_h1()),
    "experts-softmax": blocks.Qwen2MoeSparseMoeBlock,
    "experts-groups": blocks.Glm4MoeMoE,
    "experts-limits": blocks.GptOssMLP,
    "mamba-mixer": lambda: state_spaces.MambaMixer(12, inner=18, states=4, rank=3),
    "mamba2-groups": lambda: state_spaces.Mamba2Mixer(
        12, 4, 6, 5, state_spaces.GatedNorm(24, 1e-5, groups=2)
    ),
    "attention-softcap": blocks.SoftcapAttention,
    "gpt2-layers": blocks.GPT2Layers,
    "embeddings": blocks.Embeddings,
    "timesteps": blocks.TimestepEmbedding,
    "timesteps-flipped": blocks.FlippedTimestepEmbedding,
    "sentence-pooler": blocks.SentencePooler,
    "bert-pooler": blocks.BertPooler,
    "head": blocks.LanguageModelHead,
    "lstm": recurrent.LSTM,
    "lstm-one-way": recurrent.LSTMOneWay,
    "gru": recurrent.GRU,
    "rnn": recurrent.RNN,
    "tagger": recurrent.Tagger,
    "convolutions": images.Convolutions,
    "convolutions-over-time": images.ConvolutionsOverTime,
    "transposed": images.Transposed,
    "transposed-over-time": images.TransposedOverTime,
    "interpolation": images.Interpolation,
    "upsample-path": images.UpsamplePath,
    "aligned-path": images.AlignedPath,
    "pools": images.Pools,
    "resnet": images.ResNet,
    "mobilenet": images.MobileNet,
}

CASES: dict[str, Callable[[], torch.nn.Module]] = {
    f"models/{name}": make for name, make in MODELS.items()
} | {f"blocks/{name}": make for name, make in BLOCKS.items()}


def write(folder: Path) -> int:
    """Write a case for each model and block below a folder, and return their number."""
    for name, make in CASES.items():
        model, stream = make().eval(), stream_of(name)
        shake(model, stream)
        capture(model, inputs(name, stream), name, folder, varies=name in VARIED)
    return len(CASES)


def stream_of(name: str) -> Stream:
    """Return the random numbers of a case."""
    return Stream(digest(name, 4))


def inputs(name: str, stream: Stream) -> dict[str, Tensor]:
    """Return the inputs of a case: tokens, images, sound, hidden states."""
    own = name.removeprefix("models/").removeprefix("blocks/")
    if own in SHAPES:
        return {
            role: torch.from_numpy(stream.normal(role, shape).astype(np.float32)) * SIZES.get(own, 1.0)
            for role, shape in SHAPES[own].items()
        } | ({"attention_mask": mask(6)} if own == "sentence-pooler" else {})
    given = tokens(stream)
    if own in CAUSAL:
        given["attention_mask"][0] = given["attention_mask"][0].flip(0)
    if own in WITHOUT_PADDING:
        del given["attention_mask"]
        given["input_ids"] = given["input_ids"][:, :7]
    if own in ("bert", "minilm", "embeddings"):
        lengths = LENGTHS[:, None]
        given["token_type_ids"] = (torch.arange(given["input_ids"].shape[1]) >= lengths // 2).long()
    if own == "roberta":
        given["input_ids"] = torch.where(given["attention_mask"] == 1, given["input_ids"] + 2, 1)
    if own == "t5":
        ids = stream.words("decoder_input_ids", (3, 7)).astype(np.int64)
        given["decoder_input_ids"] = torch.from_numpy(ids) % (VOCABULARY - 4)
    return given


def tokens(stream: Stream) -> dict[str, Tensor]:
    """Return three sequences of different lengths. Tokens repeat, and some never stand there."""
    ids = torch.from_numpy(stream.words("input_ids", (3, TOKENS)).astype(np.int64)) % (VOCABULARY - 4)
    return {"input_ids": ids, "attention_mask": mask(TOKENS)}


def mask(length: int) -> Tensor:
    """Return the mask of three sequences, of which the second is full."""
    return (torch.arange(length) < LENGTHS[:, None] - TOKENS + length).long()


@torch.no_grad()
def shake(model: torch.nn.Module, stream: Stream) -> None:
    """Draw every parameter so that each mistake shows.

    No weight of a norm is one and no bias is zero. Embeddings are so small that eps counts.
    """
    offset = 1.0 if type(model).__name__.startswith("Gemma") else 0.0
    for name, parameter in (*model.named_parameters(), *model.named_buffers()):
        if name.endswith(("num_batches_tracked", "mup_vector")):
            continue
        drawn = torch.from_numpy(stream.normal(name, tuple(parameter.shape)).astype(np.float32))
        if name.endswith("running_var"):
            parameter.copy_(0.5 + drawn.abs())
        elif parameter.dim() > 1:
            parameter.copy_(size(name, parameter) * drawn)
        else:
            norm = name.endswith(("weight", "lambda1"))
            parameter.copy_((1.0 - offset if norm else 0.0) + 0.2 * drawn)


def size(name: str, parameter: Tensor) -> float:
    """Return the deviation of a weight."""
    if any(word in name for word in ("embed", "wte", "wpe", "shared.weight")):
        return 0.05
    if name.endswith("A_log"):
        return 0.5
    if name.endswith(("gate_up_proj", "down_proj")) and "gpt" not in name and parameter.dim() == 3:
        return parameter.shape[-1] ** -0.5
    inner = parameter.shape[0] if ".c_" in name else parameter[0].numel()
    return inner**-0.5
