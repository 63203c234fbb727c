"""A program that `difftest -- CMD` runs."""

from collections.abc import Callable, Sequence
from typing import Any

from difftest._torch import needs_torch

Function = Callable[..., Any]


def serve(
    make: Function | None = None,
    /,
    *,
    sdpa: Function | None = None,
    mha: Function | None = None,
    rope: Function | None = None,
    module: Function | None = None,
    name: str = "",
    version: str = "",
    precision: str = "",
    features: Sequence[str] | None = None,
) -> None:
    """Compute the cases of `difftest -- python mine.py` with functions, until difftest says stop.

        def attention(query, key, value, *, config, allow=None, bias=None, sinks=None):
            return ...

        difftest.serve(sdpa=attention)

    A function gets the arrays of a case as keyword arguments under their names, and the
    configuration as `config`. harness/PROTOCOL.md of difftest describes both. `sdpa`, `mha`, `rope`
    and `module` are the operations scaled_dot_product_attention, multi_head_attention,
    rotary_embedding and captured modules. Layers and modules get their parameters as `state_dict`.
    A function returns its output, or output and attention weights. One for modules may return its
    output and a dict of the outputs inside. NotImplementedError skips a case.

    `precision` declares an arithmetic of fewer bits than float32. `features` lists the features on
    offer beyond plain attention. None offers all.

    serve(make) needs PyTorch and serves its modules: make(config) returns the module for a
    configuration, and difftest's state dict is loaded into it.
    """
    if make is not None:
        if any(function is not None for function in (sdpa, mha, rope, module, features)):
            raise TypeError("serve: make(config) serves all operations; give it alone")
        needs_torch("serve")
        from difftest._pyref.serve import serve_modules

        serve_modules(make, name, version, precision)
        return
    from difftest._pyref import subject

    subject.serve(
        sdpa=sdpa,
        mha=mha,
        rope=rope,
        module=module,
        name=name,
        version=version,
        precision=precision,
        features=None if features is None else list(features),
    )
