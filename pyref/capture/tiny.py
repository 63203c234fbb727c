"""A tiny model of a Hugging Face class, or the model in a local folder, with inputs for one call.

The caller imports the class. This module imports transformers for a local folder only.
"""

import inspect
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from pyref.build.rng import Stream

BATCH, TOKENS, VALID, DECODED = 2, 12, 9, 7  # row 0 has VALID tokens and padding
SEED = 0

# Small sizes under all names that configurations have for them. They differ, so that a program
# which takes one for another fails. The head size is not hidden size / heads, so that no
# projection is square.
SIZES: dict[str, object] = {
    "vocab_size": 97,
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "word_embed_proj_dim"), 48),
    **dict.fromkeys(("intermediate_size", "n_inner", "ffn_dim", "d_ff", "ffn_hidden_size"), 64),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 64),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "num_layers", "num_decoder_layers"), 3),
    **dict.fromkeys(("encoder_layers", "decoder_layers"), 3),
    **dict.fromkeys(("num_attention_heads", "n_head", "num_heads"), 6),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 6),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads"), 2),
    **dict.fromkeys(("head_dim", "d_kv"), 10),
    **dict.fromkeys(("qk_rope_head_dim", "qk_nope_head_dim"), 8),
    "v_head_dim": 12,
    **dict.fromkeys(("kv_lora_rank", "q_lora_rank"), 16),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_target_positions"), 64),
    "max_source_positions": 10,
    "num_mel_bins": 16,
    "sliding_window": 6,
    "query_pre_attn_scalar": 8,
    **dict.fromkeys(("num_local_experts", "n_routed_experts", "num_experts"), 8),
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
    "n_group": 2,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "state_size": 8,
    "image_size": 16,
    "patch_size": 4,
    "embedding_size": 8,
    "hidden_sizes": [8, 16],
    "depths": [1, 1],
    "projection_dim": 24,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 0,
}


def is_model_class(value: object) -> bool:
    """Report whether a value is a class of Hugging Face models."""
    return isinstance(value, type) and hasattr(value, "from_pretrained") and hasattr(value, "config_class")


def make(kind: type, settings: Mapping[str, object]) -> tuple[torch.nn.Module, dict]:
    """Return a tiny model of a class with random weights, and the arguments of one call.

    `settings` are fields of its configuration that replace the tiny sizes. ValueError if the class
    cannot be made with them.
    """
    quiet()
    try:
        config = kind.config_class(**tiny(kind.config_class, settings))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            model = kind._from_config(config, **attention(config))
    except Exception as error:  # configurations are checked in many ways
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"{kind.__name__}: no tiny model of this class: {type(error).__name__}: {reason}"
        ) from error
    return model.float().eval(), inputs(model)


def tiny(kind: type, settings: Mapping[str, object]) -> dict[str, object]:
    """Return the fields of a tiny configuration, in which the user's settings replace others."""
    known = set(inspect.signature(kind.__init__).parameters) | set(vars(kind).get("attribute_map", {}))
    fields = {name: value for name, value in SIZES.items() if name in known}
    if "kv_lora_rank" in known:  # latent attention has a key for every query head
        fields["num_key_value_heads"] = fields["num_attention_heads"]
    names = [name for name in getattr(kind, "sub_configs", {}) if name in known]
    whole = kind() if names else None
    for name in names:
        part, given = getattr(whole, name, None), settings.get(name, {})
        if hasattr(part, "to_dict") and isinstance(given, Mapping):
            fields[name] = tiny(type(part), given) | {"model_type": part.model_type}
    own = {name: value for name, value in settings.items() if not isinstance(fields.get(name), dict)}
    return fields | kinds_of_layers(kind, known, fields | own) | own


def kinds_of_layers(kind: type, known: set[str], fields: Mapping[str, object]) -> dict[str, object]:
    """Return alternating kinds of layers if the class has both kinds of attention by default."""
    if not {"layer_types", "num_hidden_layers"} <= known:
        return {}
    both = ["sliding_attention", "full_attention"]
    if not set(both) <= set(kind().layer_types or ()):
        return {}
    return {"layer_types": [both[i % 2] for i in range(int(fields["num_hidden_layers"]))]}


def attention(config: object) -> dict[str, str]:
    """Return the implementation of attention. PyTorch's own would leave out a cap on the scores."""
    capped = getattr(config, "attn_logit_softcapping", None) is not None
    return {"attn_implementation": "eager"} if capped else {}


def load(folder: Path) -> tuple[torch.nn.Module, dict]:
    """Return the model in a local folder with its weights, and the arguments of one call.

    Nothing is downloaded, and no code from the folder runs. ValueError if there is no such model.
    """
    try:
        import transformers
    except ModuleNotFoundError:
        raise ValueError(f"{folder}: transformers is not installed: pip install transformers") from None
    quiet()
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        names = config.get("architectures") or ["AutoModel"]
        kind = getattr(transformers, names[0], transformers.AutoModel)
        capped = {"attn_implementation": "eager"} if config.get("attn_logit_softcapping") else {}
        model = kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **capped)
    except Exception as error:  # a folder may be broken in many ways
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{folder}: no model: {type(error).__name__}: {reason}") from error
    return model.eval(), inputs(model)


def quiet() -> None:
    """Let transformers print errors alone, if it is imported."""
    logging = sys.modules.get("transformers.utils.logging")
    if logging is not None:
        logging.set_verbosity_error()
        logging.disable_progress_bar()


def inputs(model: torch.nn.Module) -> dict[str, object]:
    """Return the arguments of one call: tokens with some padding, pixels or features."""
    accepted, stream = inspect.signature(model.forward).parameters, Stream(SEED)
    text = text_config(model.config)
    given: dict[str, object] = {}
    if "input_ids" in accepted:
        given |= tokens(text, accepted, stream, padded(model))
    if "pixel_values" in accepted and not hasattr(model.config, "image_token_id"):
        given["pixel_values"] = pixels(model.config, stream)
    if "input_features" in accepted:
        shape = (BATCH, model.config.num_mel_bins, 2 * model.config.max_source_positions)
        given["input_features"] = torch.from_numpy(stream.normal("input_features", shape))
    if "decoder_input_ids" in accepted:
        given["decoder_input_ids"] = draw(stream, "decoder_input_ids", (BATCH, DECODED), text)
    if not given:
        raise ValueError(
            f"{type(model).__name__}: no inputs are known for {', '.join(list(accepted)[:8])}: "
            "write a factory that returns the model and its inputs"
        )
    if "use_cache" in accepted:
        given["use_cache"] = False
    return given


def text_config(config: object) -> object:
    """Return the part of a configuration that knows the tokens."""
    return getattr(config, "text_config", None) or config


def padded(model: torch.nn.Module) -> slice:
    """Return the places of padding in row 0: before the tokens where later tokens are generated.

    Behind the tokens no query that matters would see it there.
    """
    generates = getattr(model, "can_generate", lambda: False)()
    if generates and not getattr(model.config, "is_encoder_decoder", False):
        return slice(TOKENS - VALID)
    return slice(VALID, TOKENS)


def tokens(text: object, accepted: Mapping, stream: Stream, padding: slice) -> dict[str, torch.Tensor]:
    """Return tokens, their mask, and their types, as far as the model takes them."""
    ids = draw(stream, "input_ids", (BATCH, TOKENS), text)
    if "attention_mask" not in accepted:
        return {"input_ids": ids}
    mask = torch.ones_like(ids)
    mask[0, padding] = 0
    word = getattr(text, "pad_token_id", None)
    ids[0, padding] = word if isinstance(word, int) and word >= 0 else 0
    given = {"input_ids": ids, "attention_mask": mask}
    if "token_type_ids" in accepted and getattr(text, "type_vocab_size", 0) > 1:
        given["token_type_ids"] = (torch.arange(TOKENS) >= TOKENS // 2).long().expand(BATCH, TOKENS).clone()
    return given


def draw(stream: Stream, name: str, shape: tuple[int, ...], text: object) -> torch.Tensor:
    """Return random tokens, none of them among the first few, which often are special."""
    special = 3
    words = stream.words(name, shape) % (text.vocab_size - special) + special
    return torch.from_numpy(words.astype("int64"))


def pixels(config: object, stream: Stream) -> torch.Tensor:
    """Return random images."""
    vision = getattr(config, "vision_config", None) or config
    size = getattr(vision, "image_size", 32)
    height, width = (size, size) if isinstance(size, int) else size
    shape = (BATCH, getattr(vision, "num_channels", 3), height, width)
    return torch.from_numpy(stream.normal("pixel_values", shape))
