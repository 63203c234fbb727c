"""A case on disk: a folder of .npy files, and case.json, which describes them."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import numpy as np

from pyref.build import environment
from pyref.build.case import Case
from pyref.ops.operation import Arrays, Operation

VERSION = 1


@dataclass(frozen=True)
class StoredGraph:
    """The graph of a module as a file, with its constants, or the reason why there is none.

    `shapes` is shapes.json, empty unless the shapes of the inputs can vary.
    """

    text: str = ""
    shapes: str = ""
    constants: Arrays = field(default_factory=dict)
    missing: str = ""


def write(case: Case, folder: Path, torch: ModuleType) -> None:
    """Draw a case's tensors, compute on them with PyTorch, and write all into a new folder.

    `torch` is recorded in the provenance.
    """
    operation, (inputs, parameters) = case.operation, case.draw()
    store(
        folder,
        {"name": case.name, "purpose": case.purpose, "op": operation.name, "config": operation.config},
        {"inputs": inputs, "state_dict": parameters, "expected": expect(operation, inputs, parameters)},
        provenance(operation.function, operation.call, case.seed, torch),
    )


def expect(operation: Operation, inputs: Arrays, parameters: Arrays) -> Arrays:
    """Return PyTorch's results in the operation's precision, and their truths in float64.

    A case of float64 inputs is computed in float32: it tests that inputs are rounded first.
    """
    precision = "float32" if operation.precision == "float64" else operation.precision
    expected: dict[str, np.ndarray] = {}
    truths = operation.forward(inputs, parameters, "float64")
    for name, array in operation.forward(inputs, parameters, precision).items():
        expected[name] = array
        expected["truth" if name == "output" else f"{name}_truth"] = truths[name]
    return expected


def store(
    folder: Path,
    fields: dict,
    sections: Mapping[str, Arrays],
    provenance: dict,
    graph: StoredGraph | None = None,
) -> None:
    """Write a case's arrays, its graph, and a case.json that begins with `fields`."""
    if graph is not None:
        sections = {**sections, "constants": graph.constants}
    files = {section: save(folder, section, arrays) for section, arrays in sections.items() if arrays}
    case = {
        "version": VERSION,
        **fields,
        **files,
        **(save_graph(folder, graph) if graph is not None else {}),
        "files": {path.relative_to(folder).as_posix(): about(path) for path in sorted(folder.rglob("*.npy"))},
        "provenance": provenance,
    }
    with naming(folder / "case.json") as path:
        path.write_text(dump(case) + "\n", encoding="ascii")


def save(folder: Path, section: str, arrays: Arrays) -> dict[str, str]:
    """Write each distinct array once, under its first name, and return the file of each name."""
    (folder / section).mkdir(parents=True)
    files: dict[int, str] = {}
    for name, array in arrays.items():
        if id(array) not in files:
            files[id(array)] = f"{section}/{name}.npy"
            with naming(folder / files[id(array)]) as path:
                np.save(path, array, allow_pickle=False)
    return {name: files[id(array)] for name, array in arrays.items()}


@contextmanager
def naming(path: Path) -> Iterator[Path]:
    """Put a file's path into errors of writing it, such as a full disk. NumPy leaves it out."""
    try:
        yield path
    except OSError as error:
        raise OSError(f"{path}: {error.strerror or error}") from error


def save_graph(folder: Path, graph: StoredGraph) -> dict:
    """Write graph.json and shapes.json, and return their field in case.json."""
    if graph.missing:
        return {"graph": {"missing": graph.missing}}
    sums = {"sha256": save_text(folder / "graph.json", graph.text)}
    if graph.shapes:
        sums["shapes_sha256"] = save_text(folder / "shapes.json", graph.shapes)
    return {"graph": sums}


def save_text(path: Path, text: str) -> str:
    """Write a file, and return its sum."""
    data = text.encode()
    with naming(path):
        path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def about(path: Path) -> dict:
    """Return dtype, shape and sha256 of a .npy file."""
    array = np.load(path, allow_pickle=False)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    dtype = "bfloat16" if array.dtype == np.uint16 else array.dtype.name  # NumPy stores its bits
    return {"dtype": dtype, "shape": list(array.shape), "sha256": sha256}


def provenance(function: str, call: str, seed: int, torch: ModuleType) -> dict:
    """Return the facts that are needed to make the expected output again, byte for byte."""
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
    """Return JSON with each field of an object on its own line, and each list on one line."""
    if not isinstance(value, dict) or not value:
        return json.dumps(value)
    inner = indent + "  "
    fields = [f"{inner}{json.dumps(name)}: {dump(field, inner)}" for name, field in value.items()]
    return "{\n" + ",\n".join(fields) + "\n" + indent + "}"
