"""One case per output of a module whose result holds several: logits, hidden states, keys.

The cases belong to one call. They stand side by side in a folder, and share the files of their
inputs and parameters by hard links where the file system has them.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import torch

from pyref.capture import check, run, with_seed, write
from pyref.capture.call import Call
from pyref.capture.module_of import class_name, module_of
from pyref.capture.prepare import prepare
from pyref.capture.shake import shaken

WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Captured:
    """The folders of the cases, and by name the reason for each case that there is not."""

    folders: list[Path]
    refused: dict[str, str]


def several(output: str) -> bool:
    """Report whether the name of an output is a pattern."""
    return WILD.search(output) is not None


def capture_outputs(
    module: torch.nn.Module | Callable,
    inputs: object,
    pattern: str,
    name: str,
    folder: Path,
    say: Callable[[str], None] = lambda note: None,
    shake: int | None = None,
) -> Captured:
    """Write a case `name`/OUTPUT for each tensor of floats in the result that matches a pattern.

    An output that cannot be captured does not stop the others. ValueError if the module cannot run,
    or if no output matches.
    """
    module = shaken(module_of(module), shake)
    call = Call.of(module, inputs)
    paths = matching(name, module, call, pattern)
    words = {path: f"{name}/{word(path)}" for path in paths}
    twice = sorted(case for case in set(words.values()) if list(words.values()).count(case) > 1)
    if twice:
        raise ValueError(f"{name}: more than one output would be {twice[0]}: narrow the pattern")
    captured, said = Captured([], {}), set()
    for path, case in words.items():
        purpose = f"The output {path} of {class_name(module)}, captured{with_seed(shake)}."
        try:
            notes: list[str] = []
            target = write(module, replace(call, output=path), case, folder, purpose, notes.append)
        except (OSError, ValueError) as error:
            captured.refused[case] = str(error).removeprefix(f"{case}: ")
            continue
        if captured.folders:
            share(captured.folders[0], target)
        captured.folders.append(target)
        for note in notes:
            if note not in said and note != f"output {path}":
                said.add(note)
                say(note)
    return captured


def matching(name: str, module: torch.nn.Module, call: Call, pattern: str) -> list[str]:
    """Return the names of the outputs that match a pattern, each tensor once."""
    prepared = prepare(module)
    with run.unfused(prepared.module):
        found = check.floats(run.called(name, prepared.module, call, np.float32))
    if list(found) == [""]:
        raise ValueError(f"{name}: the result is one tensor: leave --output out")
    first: dict[int, str] = {}
    for path, tensor in found.items():
        first.setdefault(id(tensor), path)
    paths = [path for path in first.values() if fnmatchcase(path, pattern)]
    if not paths:
        raise ValueError(f"{name}: no output of floats matches {pattern!r}: {check.some(list(found))}")
    return paths


def word(path: str) -> str:
    """Return the end of a case's name."""
    return re.sub("[^a-z0-9._-]+", "-", path.lower()).strip("-._") or "output"


def share(first: Path, other: Path) -> None:
    """Let two cases share the files that are equal, if the file system can."""
    for path in sorted(other.glob("*/*.npy")):
        same = first / path.relative_to(other)
        if same.is_file() and same.read_bytes() == path.read_bytes():
            link = path.with_name(f".{path.name}")
            try:
                os.link(same, link)
            except OSError:
                return
            link.replace(path)
