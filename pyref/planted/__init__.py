"""Known mistakes, planted in plain PyTorch to check Go's catalogue, with which they share no code.

A mistake is a function of a case's plain attention. It returns the attention with the mistake, or
None if the mistake does not apply. A family's file lists its mistakes by id. The random mistakes of
Go's catalogue are not planted, because two implementations draw different numbers.
"""

from pyref.planted import (
    alibi,
    biases,
    cross_attention,
    files,
    heads,
    kv_cache,
    masks,
    precision,
    qk_norm,
    relative_bias,
    rope,
    scales,
    scores,
    softmax,
    weights,
)

FAMILIES = {
    "weights": weights.MISTAKES,
    "biases": biases.MISTAKES,
    "files": files.MISTAKES,
    "heads": heads.MISTAKES,
    "masks": masks.MISTAKES,
    "scales": scales.MISTAKES,
    "softmax": softmax.MISTAKES,
    "scores": scores.MISTAKES,
    "rope": rope.MISTAKES,
    "kv cache": kv_cache.MISTAKES,
    "alibi": alibi.MISTAKES,
    "relative bias": relative_bias.MISTAKES,
    "qk norm": qk_norm.MISTAKES,
    "cross attention": cross_attention.MISTAKES,
    "precision": precision.MISTAKES,
}
MISTAKES = {name: mistake for family in FAMILIES.values() for name, mistake in family.items()}
