"""Makes the fixtures of difftest with a pinned PyTorch.

    table/ -> draw tensors -> PyTorch in float32 and float64 -> files -> NumPy cross-check -> fixtures/

`pyref/regenerate` runs all of it in an environment of its own. `pyref.planted` makes every known mistake in
plain PyTorch. `pyref.capture` alone is for a module of the user's, in the user's environment. Dimension
letters are PyTorch's:

    B batch   H heads   Hk key and value heads   L queries   S keys   P keys in a cache
    D width of the model   E, Ev width of a head's keys, values
"""
