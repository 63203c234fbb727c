"""One case per layer of a model, each with its own inputs: no layer inherits another's errors."""

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import torch

from pyref.capture import autocast, check, run, with_seed, write
from pyref.capture.call import Call, to_array
from pyref.capture.module_of import class_name
from pyref.capture.prepare import prepare
from pyref.capture.shake import shaken


@dataclass(frozen=True)
class Recorded:
    """The `number`th call of the module at `path`, and its output or the reason why it has none."""

    path: str
    number: int
    call: Call | None
    output: np.ndarray | None
    problem: str = ""

    @property
    def suffix(self) -> str:
        """The end of the case's name."""
        word = re.sub("[^a-z0-9]+", "-", self.path.lower()).strip("-")
        return word if self.number == 1 else f"{word}-call-{self.number}"


@dataclass(frozen=True)
class Captured:
    """The folders of the cases, and by name the reason for each case that there is not."""

    folders: list[Path]
    refused: dict[str, str]


def capture_submodules(
    model: torch.nn.Module,
    inputs: object,
    pattern: str,
    name: str,
    folder: Path,
    say: Callable[[str], None] = lambda note: None,
    shake: int | None = None,
) -> Captured:
    """Run the model once, and write a case `name`-path for each call of a matching module.

    `pattern` is a glob over the names in `model.named_modules()`; its `*` crosses dots. Modules
    that the run does not call get no case. A module that cannot be captured does not stop the
    others. With a seed in `shake`, all parameters are drawn anew. ValueError if the model cannot
    run, or if no called module matches.
    """
    model = shaken(model, shake)
    call = Call.of(model, inputs)
    check.dropout(name, model)
    check.tensors(name, model, call)
    prepared = prepare(model)
    model = prepared.module
    for note in prepared.notes:
        say(note)
    matching = {path: inner for path, inner in model.named_modules() if path and fnmatchcase(path, pattern)}
    if not matching:
        names = [path for path, _ in model.named_modules() if path]
        raise ValueError(f"{name}: no submodule matches {pattern!r}: {check.some(names)}")
    with run.unfused(model):
        with autocast.left_out(), hooks(matching) as calls:
            run.called(name, model, call, np.float32)
        if not calls:
            raise ValueError(f"{name}: no call of {', '.join(matching)}, which match {pattern!r}")
        check.distinct(name, [recorded.suffix for recorded in calls])
        return capture_calls(model, matching, calls, name, folder, with_seed(shake))


def capture_calls(
    model: torch.nn.Module,
    matching: Mapping[str, torch.nn.Module],
    calls: list[Recorded],
    name: str,
    folder: Path,
    origin: str,
) -> Captured:
    """Write the case of every call that can be one."""
    captured = Captured([], {})
    for recorded in calls:
        case = f"{name}-{recorded.suffix}"
        purpose = f"{recorded.path} of {class_name(model)}, captured with its own inputs{origin}."
        try:
            captured.folders.append(capture_call(matching[recorded.path], recorded, case, folder, purpose))
        except (OSError, ValueError) as error:
            captured.refused[case] = str(error).removeprefix(f"{case}: ")
    return captured


@contextmanager
def hooks(matching: Mapping[str, torch.nn.Module]) -> Iterator[list[Recorded]]:
    """Record calls in the order of their ends, with copies of their inputs at the start."""
    calls: list[Recorded] = []
    pending: list[Call | ValueError] = []

    def before(module: torch.nn.Module, values: tuple, keywords: dict) -> None:
        try:
            pending.append(Call.recorded(module, values, keywords))
        except ValueError as error:
            pending.append(error)

    def after(path: str, result: object) -> None:
        number, call = 1 + sum(recorded.path == path for recorded in calls), pending.pop()
        try:
            if isinstance(call, ValueError):
                raise call
            calls.append(Recorded(path, number, call, to_array(check.output(path, result))))
        except ValueError as error:
            calls.append(Recorded(path, number, None, None, str(error).removeprefix(f"{path}: ")))

    handles = []
    for path, module in matching.items():
        handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
        handles.append(module.register_forward_hook(lambda _, __, result, path=path: after(path, result)))
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def capture_call(module: torch.nn.Module, recorded: Recorded, case: str, folder: Path, purpose: str) -> Path:
    """Write the case of one call, if the module alone gives the same output as in the model."""
    if recorded.call is None or recorded.output is None:
        raise ValueError(recorded.problem)
    with autocast.left_out():
        alone = run.single(case, copy.deepcopy(module), recorded.call)[0]
    check.same(case, "alone than in the model, which must pass it a hidden input", alone, recorded.output)
    return write(module, recorded.call, case, folder, purpose)
