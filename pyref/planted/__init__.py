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

MODULES = (
    weights,
    biases,
    files,
    heads,
    masks,
    scales,
    softmax,
    scores,
    rope,
    kv_cache,
    alibi,
    relative_bias,
    qk_norm,
    cross_attention,
    precision,
)

# The same mistakes with other numbers or in other forms. One case shows each, if it is large
# enough.
VARIANTS = {name: mistake for module in MODULES for name, mistake in getattr(module, "VARIANTS", {}).items()}

# By the names of Go's families: the module kv_cache holds the family "kv cache".
FAMILIES = {
    module.__name__.rpartition(".")[2].replace("_", " "): module.MISTAKES | getattr(module, "VARIANTS", {})
    for module in MODULES
}
MISTAKES = {name: mistake for family in FAMILIES.values() for name, mistake in family.items()}
