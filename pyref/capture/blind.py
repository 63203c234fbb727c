"""What a case cannot see because of the values of its parameters."""

from collections.abc import Iterator

import torch

SHOWN = 3  # names in a line


def spots(module: torch.nn.Module) -> Iterator[str]:
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
            groups.setdefault((tuple(p.shape), p.cpu().numpy().tobytes()), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def listed(names: list[str]) -> str:
    """Return a few names, and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
