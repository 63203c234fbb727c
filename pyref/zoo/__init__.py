"""Models that everyone has, in plain PyTorch: the cases in fixtures/models and fixtures/blocks.

`write` captures each of them with its graph. The classes of whole models, the parameters and the
settings have their names in transformers 5.24.0, so that a port of the original loads the case.
"""

from pyref.zoo.store import CASES, GROUPS, write

__all__ = ["CASES", "GROUPS", "write"]
