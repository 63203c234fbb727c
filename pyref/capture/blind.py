"""What a case cannot see because of the values of its parameters, its inputs and its sizes."""

import inspect
from collections.abc import Iterator

import numpy as np
import torch

from pyref.capture.call import Call

SHOWN = 3  # names in a line
LEXICOGRAPHIC = 11  # layers: "10" comes before "2"
TOKENS = ("input_ids", "inputs_embeds", "hidden_states", "decoder_input_ids")


def spots(module: torch.nn.Module, call: Call | None = None) -> Iterator[str]:
    """Yield a line for each thing that hides a mistake in a case of one call."""
    yield from of_values(module)
    yield from of_sizes(module)
    if call is not None:
        yield from of_padding(module, call)
        yield from of_window(module, call)


def of_sizes(module: torch.nn.Module) -> Iterator[str]:
    """Yield a line if there are too few layers, and one for square weights."""
    lists = [inner for inner in module.modules() if isinstance(inner, torch.nn.ModuleList)]
    layers = max(map(len, lists), default=0)
    if 1 < layers < LEXICOGRAPHIC:
        yield (
            f"{layers} layers: a program that sorts their names as text passes: "
            f"a lexicographic order needs {LEXICOGRAPHIC}"
        )
    square = [name for name, p in module.named_parameters() if p.dim() == 2 and p.shape[0] == p.shape[1]]
    if square:
        yield f"square: {listed(square)}: their shapes do not tell a program to transpose them"


def of_padding(module: torch.nn.Module, call: Call) -> Iterator[str]:
    """Yield a line if a mask of tokens hides none, or is left out."""
    if "attention_mask" not in inspect.signature(module.forward).parameters:
        return
    mask = call.arguments.get("attention_mask")
    if mask is None or (isinstance(mask, np.ndarray) and mask.ndim == 2 and bool((mask == 1).all())):
        yield "no row is padded: attention_mask: a program that ignores it passes"


def of_window(module: torch.nn.Module, call: Call) -> Iterator[str]:
    """Yield a line if no token lies outside the window of attention."""
    window = getattr(getattr(module, "config", None), "sliding_window", None)
    lengths = [call.arrays[name].shape[1] for name in TOKENS if name in call.arrays]
    if isinstance(window, int) and window > 0 and lengths and max(lengths) <= window:
        yield f"T {max(lengths)} <= window {window}: a program without the window passes"


def of_values(module: torch.nn.Module) -> Iterator[str]:
    """Yield a line for each kind of values that hide a mistake.

    A program that leaves out a weight of ones or a bias of zeros passes the case. So does one that
    exchanges two equal parameters. A tied parameter counts once.
    """
    parameters = {
        name: p.detach() for name, p in module.named_parameters() if p.is_floating_point() and p.numel()
    }
    for value, word in ((1.0, "ones"), (0.0, "zeros")):
        names = [name for name, p in parameters.items() if bool((p == value).all())]
        if names:
            yield f"all {word}: {listed(names)}: a program that leaves them out passes"
    for names in equal(parameters):
        yield f"equal: {listed(names)}: a program that exchanges them passes"


def equal(parameters: dict[str, torch.Tensor]) -> list[list[str]]:
    """Return the names of parameters with the same values, which are not all the same number."""
    groups: dict[tuple, list[str]] = {}
    for name, p in parameters.items():
        if p.numel() > 1 and bool((p != p.flatten()[0]).any()):
            groups.setdefault((tuple(p.shape), p.cpu().float().numpy().tobytes()), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def listed(names: list[str]) -> str:
    """Return a few names, and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
