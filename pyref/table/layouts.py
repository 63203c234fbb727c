"""State dicts of real models: one small causal layer under many names."""

from pyref.build.case import Case
from pyref.ops.decoder import DecoderAttention
from pyref.ops.prefix import PrefixedDecoderAttention, PrefixedMultiheadAttention, PrefixedSeedLayer
from pyref.ops.rope import Rope

GROUPED = {
    "batch": 3,
    "seq_q": 9,
    "embed_dim": 40,
    "num_heads": 6,
    "num_kv_heads": 2,
    "head_dim": 10,
}
UNGROUPED = GROUPED | {"num_heads": 4, "num_kv_heads": 4}

CASES = (
    Case(
        "layouts/llama",
        "Four projections, q_proj, k_proj, v_proj and o_proj, without biases; grouped heads.",
        DecoderAttention(**GROUPED, param_layout="llama"),
    ),
    Case(
        "layouts/llama-biases",
        "The same names with a bias each, as in OPT and Whisper but for the name of the last.",
        DecoderAttention(**UNGROUPED, param_layout="llama", bias=True),
    ),
    Case(
        "layouts/gpt",
        "GPT-2's Conv1D: c_attn has query, key and value in its columns, and both weights are (in, out).",
        DecoderAttention(**UNGROUPED, param_layout="gpt2", bias=True),
    ),
    Case(
        "layouts/neox",
        "GPT-NeoX's query_key_value: rows of query, key and value head by head; rotated in part.",
        DecoderAttention(**UNGROUPED, param_layout="neox", bias=True, rope=Rope(dim=6)),
    ),
    Case(
        "layouts/neox-grouped",
        "Falcon's query_key_value: rows of three queries, a key and a value for each key/value head.",
        DecoderAttention(**GROUPED, param_layout="neox"),
    ),
    Case(
        "layouts/fused-grouped",
        "qkv_proj with all queries, then the fewer keys and values: not three equal parts.",
        DecoderAttention(**GROUPED, param_layout="fused"),
    ),
    Case(
        "layouts/llama-in-model",
        "The names that a layer has in the state dict of a whole model of Hugging Face transformers.",
        PrefixedDecoderAttention(prefix="model.layers.0.self_attn.", **GROUPED, param_layout="llama"),
    ),
    Case(
        "layouts/fused-compiled",
        "The names that torch.compile gives to what it wraps.",
        PrefixedDecoderAttention(prefix="_orig_mod.", **UNGROUPED, param_layout="fused", bias=True),
    ),
    Case(
        "layouts/torch-parallel",
        "The names that DataParallel gives to a torch.nn.MultiheadAttention.",
        PrefixedMultiheadAttention(
            prefix="module.", batch=3, seq_q=9, embed_dim=40, num_heads=4, causal=True
        ),
    ),
    Case(
        "layouts/seed-parallel",
        "The names that DataParallel gives to the seed layer.",
        PrefixedSeedLayer(prefix="module.", batch=3, seq_len=9, embed_dim=40, num_heads=4, causal=True),
    ),
)
