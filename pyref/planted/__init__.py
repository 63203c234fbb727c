"""Known mistakes planted in plain PyTorch, to be held against Go's, which share nothing with them.

A mistake is a function of a case's plain attention. It returns one that makes the mistake, or None where
there is nothing to get wrong so.
"""

from pyref.planted import (
    biases,
    caches,
    files,
    heads,
    masks,
    memories,
    norms,
    precisions,
    relatives,
    rotations,
    scales,
    scores,
    slopes,
    softmaxes,
    weights,
)

FAMILIES = {
    "weights": weights.MISTAKES,
    "biases": biases.MISTAKES,
    "files": files.MISTAKES,
    "heads": heads.MISTAKES,
    "masks": masks.MISTAKES,
    "scales": scales.MISTAKES,
    "softmax": softmaxes.MISTAKES,
    "scores": scores.MISTAKES,
    "rope": rotations.MISTAKES,
    "kv cache": caches.MISTAKES,
    "alibi": slopes.MISTAKES,
    "relative bias": relatives.MISTAKES,
    "qk norm": norms.MISTAKES,
    "cross attention": memories.MISTAKES,
    "precision": precisions.MISTAKES,
}
MISTAKES = {name: mistake for family in FAMILIES.values() for name, mistake in family.items()}
