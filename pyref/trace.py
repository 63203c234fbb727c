"""Write the outputs of the modules inside a model, for difftest to find the first wrong one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch


@contextmanager
def traced(model: torch.nn.Module, folder: Path | str) -> Iterator[None]:
    """Write the output of every module inside `model` as folder/PATH.npy while the model runs.

    A module that runs several times leaves its last output. A module that returns its input, such
    as dropout, is left out, and a module whose result begins with no tensor of floats. `folder` is
    the folder `output` beside output.npy.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)

    def write(path: str, given: tuple, result: object) -> None:
        first = result[0] if isinstance(result, (tuple, list)) and result else result
        if not isinstance(first, torch.Tensor) or not first.is_floating_point():
            return
        if not any(isinstance(x, torch.Tensor) and x.data_ptr() == first.data_ptr() for x in given):
            np.save(folder / f"{path}.npy", first.detach().cpu().float().numpy())

    hooks = [
        module.register_forward_hook(lambda _, given, result, path=path: write(path, given, result))
        for path, module in model.named_modules()
        if path
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
