"""Tiny models of many families, with parameters that hide no mistake.

`pyref/regenerate --run -m pyref.tests.families` measures them, and prints the table of
harness/GRAPHS.md.
"""

import contextlib
import logging
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from pyref.build.pinned_torch import torch
from pyref.capture import run, state_dict
from pyref.capture.call import Call
from pyref.capture.graph import store
from pyref.models.plain import CNN, NanoGPT, UNet, shaken

try:
    import transformers
except ImportError:
    transformers = None

Made = tuple[torch.nn.Module, dict[str, object]]

SIZES = {
    **{"vocab_size": 97, "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 3},
    **{"num_attention_heads": 6, "num_key_value_heads": 2, "max_position_embeddings": 64},
    **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
}
ENCODER = {name: value for name, value in SIZES.items() if name != "num_key_value_heads"}
VISION = {
    name: SIZES[name]
    for name in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
}
PATCHES = {"image_size": 16, "patch_size": 4}
EXPERTS = {"num_experts_per_tok": 2}
ALTERNATING = ["sliding_attention", "full_attention", "sliding_attention"]


@dataclass(frozen=True)
class Family:
    """How to make a tiny model with its inputs, and the nodes that its graph must have."""

    make: Callable[[], Made]
    lifted: Mapping[str, int]


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(9))


def tokens(count: int = 12) -> torch.Tensor:
    return torch.randint(3, 97, (2, count), generator=torch.Generator().manual_seed(5))


def text() -> dict[str, object]:
    mask = torch.ones(2, 12, dtype=torch.long)
    mask[0, 9:] = 0
    return {"input_ids": tokens(), "attention_mask": mask}


def cached() -> dict[str, object]:
    return text() | {"use_cache": False}


def t5() -> dict[str, object]:
    return cached() | {"decoder_input_ids": tokens(7)}


def pixels() -> dict[str, object]:
    return {"pixel_values": drawn(2, 3, 16, 16)}


def hugging_face(
    prefix: str, suffix: str, sizes: dict, inputs: Callable[[], dict], config: str = "", **more: object
) -> Callable[[], Made]:
    """Return a maker of one class of transformers, from its configuration."""

    def make() -> Made:
        settings = getattr(transformers, config or f"{prefix}Config")(**sizes, **more)
        if hasattr(settings, "_experts_implementation"):
            settings._experts_implementation = "batched_mm"  # grouped_mm has no float64
        model = getattr(transformers, prefix + suffix)(settings)
        if getattr(settings, "num_experts_per_tok", None):
            model.config._experts_implementation = "batched_mm"
        return shaken(model), inputs()

    return make


def causal(prefix: str, sizes: dict = SIZES, config: str = "", **more: object) -> Callable[[], Made]:
    """Return a maker of a language model."""
    return hugging_face(prefix, "ForCausalLM", sizes, cached, config, **more)


def plain(module: Callable[[], torch.nn.Module], **inputs: torch.Tensor) -> Callable[[], Made]:
    """Return a maker of a module of PyTorch itself."""

    def make() -> Made:
        torch.manual_seed(4)
        return shaken(module()), dict(inputs)

    return make


def whisper_encoder() -> Made:
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    sizes = {"d_model": 48, "encoder_layers": 3, "encoder_attention_heads": 6, "encoder_ffn_dim": 64}
    config = transformers.WhisperConfig(**sizes, num_mel_bins=16, max_source_positions=10)
    return shaken(WhisperEncoder(config)), {"input_features": drawn(2, 16, 20)}


def expected(attention: int = 3, **more: int) -> dict[str, int]:
    return {"attention": attention, "softmax": 0, "rsqrt": 0, "erf": 0, "tanh": 0} | more


GROUPED = expected(rms_norm=7, rotary=6, repeat_interleave=6, silu=3)
LAYERS = expected(layer_norm=7, gelu=3)
TORCH_LAYER = {"d_model": 48, "nhead": 6, "dim_feedforward": 64, "batch_first": True}
DEEPSEEK = {
    **{"moe_intermediate_size": 24, "n_routed_experts": 8, "n_group": 2, "topk_group": 1},
    **{"first_k_dense_replace": 1, "kv_lora_rank": 16, "q_lora_rank": 16},
    **{"qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8},
}
GPT2 = {"vocab_size": 97, "n_embd": 48, "n_layer": 3, "n_head": 6, "n_positions": 64}
T5 = {"vocab_size": 97, "d_model": 48, "d_ff": 64, "d_kv": 8, "num_layers": 3, "num_heads": 6}
RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
OPT = {name: value for name, value in ENCODER.items() if name != "intermediate_size"}

HUGGING_FACE: dict[str, Family] = {
    "Llama": Family(causal("Llama"), GROUPED),
    "Qwen2": Family(causal("Qwen2"), GROUPED),
    "Qwen3": Family(causal("Qwen3", head_dim=8), GROUPED | {"rms_norm": 13}),
    "Gemma2": Family(
        causal("Gemma2", head_dim=8, sliding_window=6, query_pre_attn_scalar=8, attn_implementation="eager"),
        # one tanh caps the logits
        expected(rms_norm=13, rotary=6, repeat_interleave=6, gelu=3, tanh=1),
    ),
    "Gemma3": Family(
        causal("Gemma3", config="Gemma3TextConfig", head_dim=8, sliding_window=6, layer_types=ALTERNATING),
        expected(rms_norm=19, rotary=6, repeat_interleave=6, gelu=3),
    ),
    "Mistral": Family(causal("Mistral", sliding_window=6), GROUPED),
    "Phi3": Family(causal("Phi3"), GROUPED),
    "GPT2": Family(hugging_face("GPT2", "LMHeadModel", GPT2, cached), LAYERS),
    "GPTNeoX": Family(causal("GPTNeoX", ENCODER), expected(layer_norm=7, rotary=6, gelu=3)),
    "OPT": Family(causal("OPT", OPT, ffn_dim=64, word_embed_proj_dim=48), expected(layer_norm=7, mul=0)),
    "Bloom": Family(
        causal("Bloom", {"vocab_size": 97, "hidden_size": 48, "n_layer": 3, "n_head": 6}),
        LAYERS | {"layer_norm": 8},
    ),
    "Falcon": Family(causal("Falcon", OPT), expected(layer_norm=4, rotary=6, gelu=3, linear=13, matmul=0)),
    "BERT": Family(hugging_face("Bert", "Model", ENCODER, text), LAYERS),
    "RoBERTa": Family(hugging_face("Roberta", "Model", ENCODER, text), LAYERS),
    "T5": Family(
        hugging_face("T5", "ForConditionalGeneration", T5, t5, decoder_start_token_id=0),
        expected(attention=9, rms_norm=17),
    ),
    "Whisper encoder": Family(whisper_encoder, expected(layer_norm=7, gelu=5, mul=0)),
    "ViT": Family(hugging_face("ViT", "Model", VISION, pixels, **PATCHES), LAYERS),
    "CLIP text": Family(
        hugging_face("CLIPTextModel", "", ENCODER, text, "CLIPTextConfig"),
        expected(layer_norm=7, quick_gelu=3),
    ),
    "CLIP vision": Family(
        hugging_face("CLIPVisionModel", "", VISION, pixels, "CLIPVisionConfig", **PATCHES),
        expected(quick_gelu=3),
    ),
    "Mixtral": Family(
        causal("Mixtral", num_local_experts=4), GROUPED | {"repeat_interleave": 9, "softmax": 3, "topk": 3}
    ),
    "DeepSeekV3": Family(
        causal("DeepseekV3", SIZES | {"num_key_value_heads": 6}, **DEEPSEEK, **EXPERTS),
        expected(rms_norm=13, rotary=6, silu=5),
    ),
    "gpt-oss": Family(
        causal(
            "GptOss", head_dim=8, num_local_experts=4, sliding_window=6, layer_types=ALTERNATING, **EXPERTS
        ),
        expected(rms_norm=7, rotary=6, repeat_interleave=9, softmax=3),
    ),
    "Mamba": Family(
        hugging_face(
            "Mamba",
            "ForCausalLM",
            {"vocab_size": 97, "hidden_size": 48, "num_hidden_layers": 2, "state_size": 8},
            lambda: {"input_ids": tokens(), "use_cache": False},
        ),
        {"rms_norm": 3, "silu": 4, "convolution": 2, "softplus": 2},
    ),
    "ResNet": Family(
        hugging_face(
            "ResNet",
            "Model",
            {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]},
            pixels,
            layer_type="basic",
        ),
        {"batch_norm": 6, "convolution": 6, "max_pool": 1},
    ),
}

PLAIN: dict[str, Family] = {
    "LSTM": Family(
        plain(lambda: torch.nn.LSTM(12, 16, 2, batch_first=True), input=drawn(2, 9, 12)), {"lstm": 2}
    ),
    "GRU": Family(
        plain(lambda: torch.nn.GRU(12, 16, 2, batch_first=True), input=drawn(2, 9, 12)), {"gru": 2}
    ),
    "TransformerEncoderLayer": Family(
        plain(lambda: torch.nn.TransformerEncoderLayer(**TORCH_LAYER), src=drawn(2, 9, 48)),
        expected(1, layer_norm=2),
    ),
    "TransformerEncoderLayer, norm first": Family(
        plain(lambda: torch.nn.TransformerEncoderLayer(**TORCH_LAYER, norm_first=True), src=drawn(2, 9, 48)),
        expected(1, layer_norm=2),
    ),
    "TransformerEncoder": Family(
        plain(
            lambda: torch.nn.TransformerEncoder(torch.nn.TransformerEncoderLayer(**TORCH_LAYER), 2),
            src=drawn(2, 9, 48),
        ),
        expected(2, layer_norm=4),
    ),
    "nanoGPT": Family(plain(NanoGPT, idx=tokens()), LAYERS),
    "ResNet by hand": Family(plain(CNN, x=drawn(2, 3, 32, 32)), {"batch_norm": 8, "convolution": 8}),
    "UNet": Family(
        plain(UNet, x=drawn(2, 3, 16, 16)),
        {"group_norm": 3, "convolution_transposed": 1, "upsample": 2, "silu": 3},
    ),
}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let transformers and PyTorch say nothing."""
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


def row(name: str, family: Family) -> str:
    """Return the table's row of one family."""
    with quiet():
        module, inputs = family.make()
        call = Call.by_keyword(module, inputs)
        with run.unfused(module):
            truth = run.double(name, module, call)[0]
            start = time.process_time()
            graph, values = store.graph_of(module, call, state_dict(module), truth)
    seconds = time.process_time() - start
    size = len(store.dump(graph, values)) / 1000
    operators = len(Counter(node.op for node in graph.nodes))
    return f"| {name} | {len(graph.nodes)} | {operators} | {size:.0f} KB | {seconds:.1f} s |"


def main() -> None:
    """Print the table."""
    print("| family | nodes | operators | graph.json | CPU time |\n|---|---|---|---|---|")
    for name, family in ((HUGGING_FACE if transformers else {}) | PLAIN).items():
        print(row(name, family), flush=True)


if __name__ == "__main__":
    main()
