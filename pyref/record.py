"""A case on disk: a folder of .npy files, and the case.json that says what they are."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np

from pyref import environment
from pyref.case import Arrays, Case, Operation

VERSION = 1


def write(case: Case, folder: Path, torch: ModuleType) -> None:
    """Draw the case's tensors, let PyTorch compute on them, and write everything into a new folder.

    `torch` is the one that computes, for the provenance.
    """
    operation, (inputs, parameters) = case.operation, case.draw()
    store(
        folder,
        {"name": case.name, "purpose": case.purpose, "op": operation.name, "config": operation.config},
        {"inputs": inputs, "state_dict": parameters, "expected": expect(operation, inputs, parameters)},
        provenance(operation.function, operation.call, case.seed, torch),
    )


def expect(operation: Operation, inputs: Arrays, parameters: Arrays) -> Arrays:
    """Return what PyTorch computes, in the operation's precision and in float64.

    Tensors stored as float64 are computed on in float32: that they are rounded first is what is tested.
    """
    precision = "float32" if operation.precision == "float64" else operation.precision
    expected: dict[str, np.ndarray] = {}
    truths = operation.forward(inputs, parameters, "float64")
    for name, array in operation.forward(inputs, parameters, precision).items():
        expected[name] = array
        expected["truth" if name == "output" else f"{name}_truth"] = truths[name]
    return expected


def store(folder: Path, fields: dict, sections: Mapping[str, Arrays], provenance: dict) -> None:
    """Write a case's arrays, section by section, and the case.json that begins with `fields`."""
    files = {section: save(folder, section, arrays) for section, arrays in sections.items() if arrays}
    case = {
        "version": VERSION,
        **fields,
        **files,
        "files": {path.relative_to(folder).as_posix(): about(path) for path in sorted(folder.rglob("*.npy"))},
        "provenance": provenance,
    }
    (folder / "case.json").write_text(dump(case) + "\n", encoding="ascii")


def save(folder: Path, section: str, arrays: Arrays) -> dict[str, str]:
    """Write each distinct array once, and return the file of each name: the first name gives the file's."""
    (folder / section).mkdir(parents=True)
    files: dict[int, str] = {}
    for name, array in arrays.items():
        if id(array) not in files:
            files[id(array)] = f"{section}/{name}.npy"
            np.save(folder / files[id(array)], array, allow_pickle=False)
    return {name: files[id(array)] for name, array in arrays.items()}


def about(path: Path) -> dict:
    """Return dtype, shape and sha256 of a .npy file as it lies on disk."""
    array = np.load(path, allow_pickle=False)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    dtype = "bfloat16" if array.dtype == np.uint16 else array.dtype.name  # NumPy has its bits only
    return {"dtype": dtype, "shape": list(array.shape), "sha256": sha256}


def provenance(function: str, call: str, seed: int, torch: ModuleType) -> dict:
    """Return what made the expected output, in enough detail to make the same bytes again."""
    return {
        "function": function,
        "call": call,
        "torch": torch.__version__,
        "torch_git": torch.version.git_version,
        "numpy": np.__version__,
        "python": environment.python(),
        "seed": seed,
        "threads": torch.get_num_threads(),
        "mkldnn": torch.backends.mkldnn.enabled,
        "environment": environment.variables(),
    }


def dump(value: object, indent: str = "") -> str:
    """Return JSON with an object's fields on lines of their own and a list on one line."""
    if not isinstance(value, dict) or not value:
        return json.dumps(value)
    inner = indent + "  "
    fields = [f"{inner}{json.dumps(name)}: {dump(field, inner)}" for name, field in value.items()]
    return "{\n" + ",\n".join(fields) + "\n" + indent + "}"
