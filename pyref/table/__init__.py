"""The cases, one row each. To add a case, add a row and run `pyref/regenerate`.

Good rows have these properties, each measured on faults from public bug reports:

    batch at least 3, heads at least 4
    1/sqrt(E), 1/sqrt(D), 1/E and 1/sqrt(H) far apart: E 10, D 40, H 4 are, E 8 or 16 are not
    all padded lengths distinct, batch element 0 padded, biases other than zero
    scores with a standard deviation near 1
    once per family more rows than H (D + 1) + 1: least squares can then find a wrong parameter

D, E and H stand for embed_dim, head_dim and num_heads.
"""

from pyref.table import decoder, layouts, mha, rotary, samples, sdpa, seed

CASES = (*sdpa.CASES, *mha.CASES, *seed.CASES, *decoder.CASES, *layouts.CASES, *samples.CASES, *rotary.CASES)
