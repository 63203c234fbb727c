"""Write the outputs of the modules inside a model, for difftest to find the first wrong one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch


@contextmanager
def traced(model: torch.nn.Module, folder: Path | str) -> Iterator[None]:
    """Write the output of every module inside `model`, when it has run, as folder/PATH.npy.

    `folder` is the folder `output` beside output.npy.
    """
    with recorded(model) as outputs:
        yield
    Path(folder).mkdir(parents=True, exist_ok=True)
    for path, output in outputs.items():
        np.save(Path(folder) / f"{path}.npy", output)


@contextmanager
def recorded(model: torch.nn.Module) -> Iterator[dict[str, np.ndarray]]:
    """Yield a dict that gets the output of every module inside `model`, by its path, as they run.

    A module that runs several times leaves its last output. A module that returns its input, such
    as dropout, is left out, and a module whose result begins with no tensor of floats.
    """
    outputs: dict[str, np.ndarray] = {}

    def record(path: str, given: tuple, result: object) -> None:
        first = result[0] if isinstance(result, (tuple, list)) and result else result
        if not isinstance(first, torch.Tensor) or not first.is_floating_point():
            return
        if not any(isinstance(x, torch.Tensor) and x.data_ptr() == first.data_ptr() for x in given):
            outputs[path] = first.detach().cpu().float().numpy()

    hooks = [
        module.register_forward_hook(lambda _, given, result, path=path: record(path, given, result))
        for path, module in model.named_modules()
        if path
    ]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()
