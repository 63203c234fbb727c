"""The Python of difftest: tools for users, and the builder of the fixtures with a pinned PyTorch.

For users, in their own environment:

    serve.py, subject.py   let difftest test a torch.nn.Module, or any Python function
    capture/               makes cases from a PyTorch module
    commands.py            both as commands: python -m pyref
    package/               all of this as the package difftest, with the command inside
    examples/              whole implementations in several languages

For the suite, in the environment of `pyref/regenerate`:

    table/        the cases, one row each
    ops/          the operations, computed by PyTorch
    crosscheck/   the same computations in NumPy
    build/        table -> random tensors -> PyTorch, both precisions -> NumPy check -> fixtures/
    planted/      every known mistake, made in plain PyTorch

Shapes use PyTorch's letters:

    B batch   H heads   Hk key/value heads   L queries   S keys   P keys in a cache
    D width of the model   E, Ev width of a head's keys, values
"""
