"""The cases. Add a row and run `pyref/regenerate`: that is a new case.

What makes a row worth having, each point measured on faults from public bug reports: batch at least 3 and
heads at least 4; 1/sqrt(E), 1/sqrt(D), 1/E and 1/sqrt(H) far apart (E 10, D 40, H 4 are; E 8 or 16 are not);
every padded length distinct and batch element 0 padded; biases that are not zero; scores of standard
deviation near 1; and once per family more rows than H (D + 1) + 1, so that least squares can find the
parameter that is wrong.
"""

from pyref.table import decoder, layouts, mha, samples, sdpa, seed

CASES = (*sdpa.CASES, *mha.CASES, *seed.CASES, *decoder.CASES, *layouts.CASES, *samples.CASES)
