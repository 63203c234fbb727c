"""One case per layer of a model, each with its own inputs: no layer inherits another's errors."""

import copy
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import torch

from pyref.capture import check, run, write
from pyref.capture.call import Call, to_array
from pyref.capture.module_of import class_name


@dataclass(frozen=True)
class Recorded:
    """The `number`th call of the module at `path` inside a model, and its output."""

    path: str
    number: int
    call: Call
    output: np.ndarray

    @property
    def suffix(self) -> str:
        """The end of the case's name."""
        word = re.sub("[^a-z0-9]+", "-", self.path.lower()).strip("-")
        return word if self.number == 1 else f"{word}-call-{self.number}"


def capture_submodules(
    model: torch.nn.Module, inputs: Mapping[str, object], pattern: str, name: str, folder: Path
) -> list[Path]:
    """Run `model(**inputs)` once, and write a case `name`-path for each call of a matching module.

    `pattern` is a glob over the names in `model.named_modules()`; its `*` crosses dots. Modules
    that the run does not call get no case. ValueError if there is no call at all.
    """
    call = Call.by_keyword(model, inputs)
    check.dropout(name, model)
    check.tensors(name, model, call)
    model = copy.deepcopy(model)
    matching = {path: inner for path, inner in model.named_modules() if path and fnmatchcase(path, pattern)}
    with run.unfused(model):
        with hooks(matching) as calls:
            call(model, np.float32)
        if not calls:
            raise ValueError(f"{name}: no call of a submodule that matches {pattern!r}")
        check.distinct(name, [recorded.suffix for recorded in calls])
        return [capture_call(model, matching[recorded.path], recorded, name, folder) for recorded in calls]


@contextmanager
def hooks(matching: Mapping[str, torch.nn.Module]) -> Iterator[list[Recorded]]:
    """Record calls in the order of their ends, with copies of their inputs at the start."""
    calls: list[Recorded] = []
    pending: list[Call] = []

    def before(module: torch.nn.Module, values: tuple, keywords: dict) -> None:
        pending.append(Call.recorded(module, values, keywords))

    def after(path: str, result: object) -> None:
        number = 1 + sum(recorded.path == path for recorded in calls)
        calls.append(Recorded(path, number, pending.pop(), to_array(check.output(path, result))))

    handles = []
    for path, module in matching.items():
        handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
        handles.append(module.register_forward_hook(lambda _, __, result, path=path: after(path, result)))
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def capture_call(
    model: torch.nn.Module, module: torch.nn.Module, recorded: Recorded, name: str, folder: Path
) -> Path:
    """Write the case of one call, if the module alone gives the same output as in the model."""
    case = f"{name}-{recorded.suffix}"
    alone = run.single(case, copy.deepcopy(module), recorded.call)[0]
    check.same(case, "alone than in the model, which must pass it a hidden input", alone, recorded.output)
    purpose = f"{recorded.path} of {class_name(model)}, captured with its own inputs."
    return write(module, recorded.call, case, folder, purpose)
