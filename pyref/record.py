"""A case on disk: a folder of .npy files, and the case.json that says what they are."""

import hashlib
import json
from pathlib import Path

import numpy as np

from pyref import environment
from pyref.case import Arrays, Case
from pyref.pinned import torch
from pyref.stream import Stream

VERSION = 1


def write(case: Case, folder: Path) -> None:
    """Draw the case's tensors, let PyTorch compute on them, and write everything into a new folder."""
    stream, operation = Stream(case.seed), case.operation
    inputs, parameters = operation.draw_inputs(stream), operation.draw_parameters(stream)
    expected = {
        "output": operation.forward(inputs, parameters, np.float32),
        "truth": operation.forward(inputs, parameters, np.float64),
    }
    sections = {"inputs": inputs, "state_dict": parameters, "expected": expected}
    files = {section: save(folder, section, arrays) for section, arrays in sections.items() if arrays}
    (folder / "case.json").write_text(dump(describe(case, folder, files)) + "\n", encoding="ascii")


def save(folder: Path, section: str, arrays: Arrays) -> dict[str, str]:
    """Write each distinct array once, and return the file of each name: the first name gives the file's."""
    (folder / section).mkdir(parents=True)
    files: dict[int, str] = {}
    for name, array in arrays.items():
        if id(array) not in files:
            files[id(array)] = f"{section}/{name}.npy"
            np.save(folder / files[id(array)], array, allow_pickle=False)
    return {name: files[id(array)] for name, array in arrays.items()}


def describe(case: Case, folder: Path, files: dict[str, dict[str, str]]) -> dict:
    """Return what case.json holds; `files` gives each section's file by name."""
    return {
        "version": VERSION,
        "name": case.name,
        "purpose": case.purpose,
        "op": case.operation.name,
        "config": case.operation.config,
        **files,
        "detects": list(case.detects),
        "files": {path.relative_to(folder).as_posix(): about(path) for path in sorted(folder.rglob("*.npy"))},
        "provenance": provenance(case),
    }


def about(path: Path) -> dict:
    """Return dtype, shape and sha256 of a .npy file as it lies on disk."""
    array = np.load(path, allow_pickle=False)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"dtype": array.dtype.name, "shape": list(array.shape), "sha256": sha256}


def provenance(case: Case) -> dict:
    """Return what made the expected output, in enough detail to make the same bytes again."""
    return {
        "function": case.operation.function,
        "call": case.operation.call,
        "torch": torch.__version__,
        "torch_git": torch.version.git_version,
        "numpy": np.__version__,
        "python": environment.PYTHON,
        "seed": case.seed,
        "threads": torch.get_num_threads(),
        "mkldnn": torch.backends.mkldnn.enabled,
        "environment": environment.VARIABLES,
    }


def dump(value: object, indent: str = "") -> str:
    """Return JSON with an object's fields on lines of their own and a list on one line."""
    if not isinstance(value, dict):
        return json.dumps(value)
    inner = indent + "  "
    fields = [f"{inner}{json.dumps(name)}: {dump(field, inner)}" for name, field in value.items()]
    return "{\n" + ",\n".join(fields) + "\n" + indent + "}"
