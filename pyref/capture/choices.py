"""What a module decides by comparing numbers, and what it rounds to a shorter type.

A router sends a token to the experts with the largest scores. If two scores lie within rounding of
each other, a right program may choose the other expert, and its output is wrong by far more than
rounding. Such a case is refused.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pyref.build.rng import Stream
from pyref.capture import exact
from pyref.capture.call import Call
from pyref.capture.float64 import in_float64

RUNS = 4  # with nudged inputs and parameters
MARGIN = 20  # times the largest movement of a row's scores: difftest accepts errors of 20 sigma
SHORT = (torch.bfloat16, torch.float16)
# Of a module, a call, a stream and the number of the run: a nudged module and call.
Nudge = Callable[[torch.nn.Module, Call, Stream, int], tuple[torch.nn.Module, Call]]
TOP = (torch.ops.aten.topk.default, torch.ops.aten.argmax.default)


@dataclass(frozen=True)
class Choice:
    """The scores of one choice in the module at `path`, from the largest to the smallest."""

    path: str
    scores: np.ndarray
    count: int  # of chosen elements

    @property
    def gaps(self) -> np.ndarray:
        """The distance between the last chosen score and the next, for each row."""
        with np.errstate(invalid="ignore"):  # -inf less -inf: neither is a choice
            return self.scores[..., self.count - 1] - self.scores[..., self.count]

    def moved(self, other: "Choice") -> np.ndarray:
        """Return how far the scores of each row lie from the scores of another run."""
        with np.errstate(invalid="ignore"):
            return np.nan_to_num(np.abs(self.scores - other.scores)).max(axis=-1)


class Watch(TorchDispatchMode):
    """Notes choices among floats, and the modules that compute in a shorter type."""

    def __init__(self):
        """Begin with nothing noted."""
        super().__init__()
        self.stack: list[str] = []
        self.choices: list[Choice] = []
        self.short: dict[str, torch.dtype] = {}

    def __torch_dispatch__(self, function, types, values=(), keywords=None):
        """Call one operator, and look at it."""
        result = function(*values, **(keywords or {}))
        path = self.stack[-1] if self.stack else ""
        if isinstance(result, torch.Tensor) and result.dtype in SHORT:
            self.short.setdefault(path, result.dtype)
        if function in TOP and values[0].is_floating_point():
            self.note(path, arguments(function, values, keywords or {}))
        return result

    def note(self, path: str, a: dict[str, object]) -> None:
        """Note a choice, unless it leaves nothing out."""
        scores = a["self"] if a["dim"] is not None else a["self"].flatten()
        rows = scores.detach().double().movedim(-1 if a["dim"] is None else a["dim"], -1).numpy()
        rows = -np.sort(-rows if a.get("largest", True) else rows, axis=-1)
        count = a.get("k", 1)
        if count < rows.shape[-1]:
            self.choices.append(Choice(path, rows, count))


def arguments(function: object, values: tuple, keywords: dict) -> dict[str, object]:
    """Return the arguments of an operator by name, with the defaults of its schema."""
    schema = function._schema.arguments
    defaults = {argument.name: argument.default_value for argument in schema}
    return defaults | dict(zip(defaults, values, strict=False)) | keywords


@contextmanager
def watching(module: torch.nn.Module) -> Iterator[Watch]:
    """Watch the runs of a module, and know the submodule that is running."""
    watch = Watch()
    handles = []
    for path, inner in module.named_modules():
        enter = inner.register_forward_pre_hook(lambda _, __, path=path: watch.stack.append(path))
        leave = inner.register_forward_hook(lambda _, __, ___: watch.stack.pop() and None, always_call=True)
        handles += [enter, leave]
    try:
        with watch:
            yield watch
    finally:
        for handle in handles:
            handle.remove()


def watched(module: torch.nn.Module, call: Call, dtype: type[np.floating]) -> Watch:
    """Run a module once, and return what was seen."""
    with watching(module) as watch:
        call(module, dtype)
    return watch


def check_margins(name: str, module: torch.nn.Module, call: Call, nudged: Nudge, stream: Stream) -> None:
    """Refuse scores so close to each other that rounding may change a choice."""
    if not watched(module, call, np.float32).choices:
        return
    wide = exact.double(module)
    with in_float64():
        true = watched(wide, call, np.float64).choices
    runs = [watched(*nudged(module, call, stream, i), np.float32).choices for i in range(RUNS)]
    for i, choice in enumerate(true):
        noise = np.max([choice.moved(run[i]) for run in runs if len(run) == len(true)], axis=0, initial=0)
        close = choice.gaps < MARGIN * noise
        if close.any():
            gap, least = float(choice.gaps[close].min()), float(noise[close].max())
            raise ValueError(
                f"{name}: {choice.path or 'the module'} chooses between scores that lie {gap:.1e} apart, and "
                f"rounding moves them by {least:.1e}: another program may choose otherwise; change the inputs"
            )


def short_types(module: torch.nn.Module, call: Call) -> str:
    """Return a clause that names the shorter type in which a module computes, "" if it has none.

    Casts have this effect, and float64 takes no part in them.
    """
    short = watched(module, call, np.float32).short
    if not short:
        return ""
    path, dtype = next(iter(short.items()))
    return f", because {path or 'the module'} computes in {dtype}, which it asks for itself"


def check_short(name: str, module: torch.nn.Module, call: Call, truth: np.ndarray, sigma: np.ndarray) -> None:
    """Refuse an output that a shorter type rounds so coarsely that the nudged runs all agree."""
    if not ((sigma == 0) & (truth != 0)).any():
        return
    for path, dtype in watched(module, call, np.float32).short.items():
        raise ValueError(
            f"{name}: {path or 'the module'} computes in {dtype} on float32 parameters: a program that adds "
            f"up in another order may round to a neighbour, and the runs of PyTorch do not show by how much"
        )
