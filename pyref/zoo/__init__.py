"""Models that everyone has, in plain PyTorch, with the names and the settings of transformers 5.24.0.

`write` captures each of them, with its graph, below fixtures/models. Modules have the classes and
the parameters' names of transformers, so that a port of the original loads the case.
"""

from pyref.zoo.store import CASES, GROUP, write

__all__ = ["CASES", "GROUP", "write"]
