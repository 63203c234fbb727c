"""State dicts as people have them: one small causal layer under many names.

Widths are D 40 with H 4 or, grouped, H 6 and Hk 2, all with E 10.
"""

from pyref.case import Case
from pyref.decoder import DecoderAttention
from pyref.prefixed import PrefixedDecoderAttention, PrefixedMultiheadAttention, PrefixedSeedLayer
from pyref.rope import Rope

CASES = (
    Case(
        "layouts/llama",
        "Four projections, q_proj, k_proj, v_proj and o_proj, without biases; grouped heads.",
        DecoderAttention(B=3, L=9, D=40, H=6, Hk=2, E=10, layout="llama"),
    ),
    Case(
        "layouts/llama-biases",
        "The same names with a bias each, as in OPT and Whisper but for the name of the last.",
        DecoderAttention(B=3, L=9, D=40, H=4, Hk=4, E=10, layout="llama", bias=True),
    ),
    Case(
        "layouts/gpt",
        "GPT-2's Conv1D: c_attn has query, key and value in its columns, and both weights are (in, out).",
        DecoderAttention(B=3, L=9, D=40, H=4, Hk=4, E=10, layout="gpt2", bias=True),
    ),
    Case(
        "layouts/neox",
        "GPT-NeoX's query_key_value: rows of query, key and value head by head; rotated in part.",
        DecoderAttention(B=3, L=9, D=40, H=4, Hk=4, E=10, layout="neox", bias=True, rope=Rope(dim=6)),
    ),
    Case(
        "layouts/neox-grouped",
        "Falcon's query_key_value: rows of three queries, a key and a value for each key/value head.",
        DecoderAttention(B=3, L=9, D=40, H=6, Hk=2, E=10, layout="neox"),
    ),
    Case(
        "layouts/fused-grouped",
        "qkv_proj with all queries, then the fewer keys and values: not three equal parts.",
        DecoderAttention(B=3, L=9, D=40, H=6, Hk=2, E=10, layout="fused"),
    ),
    Case(
        "layouts/llama-in-model",
        "The names that a layer has in the state dict of a whole model of Hugging Face transformers.",
        PrefixedDecoderAttention(
            prefix="model.layers.0.self_attn.", B=3, L=9, D=40, H=6, Hk=2, E=10, layout="llama"
        ),
    ),
    Case(
        "layouts/fused-compiled",
        "The names that torch.compile gives to what it wraps.",
        PrefixedDecoderAttention(
            prefix="_orig_mod.", B=3, L=9, D=40, H=4, Hk=4, E=10, layout="fused", bias=True
        ),
    ),
    Case(
        "layouts/torch-parallel",
        "The names that DataParallel gives to a torch.nn.MultiheadAttention.",
        PrefixedMultiheadAttention(prefix="module.", B=3, L=9, D=40, H=4, causal=True),
    ),
    Case(
        "layouts/seed-parallel",
        "The names that DataParallel gives to the seed layer.",
        PrefixedSeedLayer(prefix="module.", B=3, T=9, D=40, H=4, causal=True),
    ),
)
