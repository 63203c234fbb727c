"""The attention layers of decoder models and of T5.

Most have the widths of a small Llama, D 44, H 6, Hk 2, E 10. So H E differs from D, H/Hk differs
from Hk, and 1/sqrt(E), 1/sqrt(D), 1/E, 1/sqrt(H) and 1/8 are at least 10 % apart.
"""

from pyref.build.case import Case
from pyref.ops.decoder import DecoderAttention
from pyref.ops.meta_weights import ConvertedAttention
from pyref.ops.padding import left
from pyref.ops.rope import Rope

SMALL_LLAMA = {
    "batch": 4,
    "seq_q": 9,
    "embed_dim": 44,
    "num_heads": 6,
    "num_kv_heads": 2,
    "head_dim": 10,
}


def layer(**options: object) -> DecoderAttention:
    """Return a layer with the widths of a small Llama unless `options` have others."""
    return DecoderAttention(**(SMALL_LLAMA | options))


CASES = (
    Case(
        "decoder/nope",
        "Grouped heads alone, without any position: six query heads share two key/value heads.",
        layer(),
    ),
    Case(
        "decoder/rope-half",
        "Llama as Hugging Face has it: every feature rotated, in pairs of one from each half of the head.",
        layer(rope=Rope(dim=10)),
    ),
    Case(
        "decoder/rope-half-left-padding",
        "Padded on the left as in batched generation; positions count the filler, and only distances matter.",
        layer(rope=Rope(dim=10), padding=left(7, 9, 4, 2)),
    ),
    Case(
        "decoder/rope-partial",
        "The first six features rotated, by a small base, so that every pair turns visibly.",
        layer(rope=Rope(dim=6, base=100)),
    ),
    Case(
        "decoder/rope-factor",
        "Linear position interpolation: positions are divided by two.",
        layer(rope=Rope(dim=10, base=100, factor=2)),
    ),
    Case(
        "decoder/rope-interleaved",
        "GPT-J's rotary positions: pairs of neighbours among the first six features.",
        layer(rope=Rope(style="interleaved", dim=6, base=100, factor=2)),
    ),
    Case(
        "decoder/rope-meta",
        "Llama with Meta's weights, whose rotary pairs are neighbours.",
        layer(rope=Rope(style="interleaved", dim=10)),
    ),
    Case(
        "decoder/rope-converted",
        "The same layer on the same inputs, its query and key rows reordered as Hugging Face converts them:"
        " the same output, unless the order of the weights and the style of the pairs are not one another's.",
        ConvertedAttention(**SMALL_LLAMA, rope=Rope(dim=10)),
        twin="decoder/rope-meta",
    ),
    Case(
        "decoder/cache",
        "Four new tokens after six in the cache: positions go on, and the causal mask with them.",
        layer(batch=3, seq_q=4, past_len=6, rope=Rope(dim=10)),
    ),
    Case(
        "decoder/cache-chunk",
        "Three new tokens after six in the cache, rotated in part and with wider heads than D / H.",
        layer(batch=3, seq_q=3, past_len=6, embed_dim=36, head_dim=12, rope=Rope(dim=8, base=100)),
    ),
    Case(
        "decoder/cache-left-padding",
        "A cache whose first keys are filler, as when a padded batch goes on.",
        layer(seq_q=4, past_len=6, rope=Rope(dim=10), padding=left(7, 10, 5, 2)),
    ),
    Case(
        "decoder/decode",
        "One new token, which sees the whole cache: a mask aligned top-left would hide all but one key.",
        layer(seq_q=1, past_len=9, rope=Rope(dim=10)),
    ),
    Case(
        "decoder/multi-query",
        "One key/value head for all query heads.",
        layer(num_kv_heads=1, rope=Rope(dim=10)),
    ),
    Case(
        "decoder/multi-head",
        "Rotary positions with a key/value head for each query head.",
        layer(num_kv_heads=6, rope=Rope(dim=10)),
    ),
    Case(
        "decoder/qwen-biases",
        "Biases on query, key and value and none on the output, as in Qwen2.",
        layer(rope=Rope(dim=10), bias=True, output_bias=False),
    ),
    Case(
        "decoder/qk-norm",
        "An RMS norm of each head's queries and keys before they are rotated, as in Qwen3.",
        layer(rope=Rope(dim=10), qk_norm=1e-6),
    ),
    Case(
        "decoder/window",
        "A sliding window, as in Mistral: a query sees itself and the three keys before it.",
        layer(rope=Rope(dim=10), window=4),
    ),
    Case(
        "decoder/window-cache",
        "A sliding window over a cache: each new token sees less of it than the one before.",
        layer(batch=3, seq_q=4, past_len=6, rope=Rope(dim=10), window=4),
    ),
    Case(
        "decoder/softcap",
        "Scores bent to 2 tanh(score / 2), as in Gemma 2, before any is hidden.",
        layer(rope=Rope(dim=10), softcap=2.0),
    ),
    Case(
        "decoder/softcap-alibi",
        "Scores bent first and biased by distance then, not the other way round.",
        layer(softcap=2.0, alibi=True),
    ),
    Case(
        "decoder/softcap-relative-bias",
        "Scores bent first, then a learned bias by distance, after a cache.",
        layer(batch=3, seq_q=4, past_len=6, softcap=2.0, relative_bias=4),
    ),
    Case(
        "decoder/gemma",
        "All at once: norm, partial rotation, a scale of its own, softcap, window, cache, left padding.",
        layer(
            seq_q=4,
            past_len=5,
            rope=Rope(dim=6),
            qk_norm=1e-6,
            scale=0.5,
            softcap=2.0,
            window=4,
            padding=left(6, 9, 4, 2),
        ),
    ),
    Case(
        "decoder/sinks",
        "A sink for each head: a logit that takes a share of the weights and gives nothing.",
        layer(sinks=True),
    ),
    Case(
        "decoder/sinks-window",
        "Sinks, a sliding window, rotary positions and biases together, as in gpt-oss.",
        layer(rope=Rope(dim=10), bias=True, sinks=True, window=4),
    ),
    Case(
        "decoder/alibi",
        "ALiBi for eight heads, a power of two, as in Bloom.",
        layer(num_heads=8, num_kv_heads=8, bias=True, alibi=True),
    ),
    Case(
        "decoder/alibi-left-padding",
        "ALiBi for six heads, with the slopes of four and two of those of eight; padded on the left.",
        layer(alibi=True, padding=left(5, 9, 8, 3)),
    ),
    Case(
        "decoder/alibi-cache",
        "ALiBi over a cache: distances are counted from the place after it.",
        layer(batch=3, seq_q=4, past_len=6, alibi=True),
    ),
    Case(
        "decoder/alibi-decode",
        "ALiBi for one new token: the bias of the last row, not of the first.",
        layer(seq_q=1, past_len=9, alibi=True),
    ),
    Case(
        "decoder/relative-bias",
        "A learned bias by distance in both directions, as in T5's encoder; beyond four it stays the same.",
        layer(num_kv_heads=6, causal=False, relative_bias=4),
    ),
    Case(
        "decoder/relative-bias-cache",
        "A learned bias by distance from queries that come after a cache.",
        layer(batch=3, seq_q=4, past_len=6, relative_bias=4),
    ),
    Case(
        "decoder/relative-bias-decode",
        "One token after a cache: its learned bias counts from its own position, not from the first.",
        layer(seq_q=1, past_len=10, relative_bias=4),
    ),
    Case(
        "decoder/relative-bias-cross",
        "A memory of its own width, scores that are not scaled, a learned bias: key j against query i.",
        layer(batch=3, seq_q=5, seq_kv=9, kdim=28, num_kv_heads=6, causal=False, scale=1.0, relative_bias=4),
    ),
)
