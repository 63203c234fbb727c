"""The cases of a suite: what to compute, and from which arrays."""

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np

from difftest import _binary

Library: TypeAlias = Literal["numpy", "torch"]
PathLike: TypeAlias = str | os.PathLike[str]


@dataclass(frozen=True)
class Case:
    """One case: its operation and configuration, its inputs and its state dict.

    The arrays are read when they are asked for, and anew each time. The expected output is no part
    of a case. harness/PROTOCOL.md of difftest describes every field and every array.

    >>> import difftest
    >>> case = difftest.case("seed/causal")
    >>> case.op, case.config["num_heads"], case.config["causality"]
    ('multi_head_attention', 4, 'top-left')
    >>> case.inputs["query"].shape, sorted(case.state_dict)
    ((4, 12, 64), ['W_K', 'W_O', 'W_Q', 'W_V'])
    """

    name: str
    purpose: str
    op: str
    shape: tuple[int, ...]
    suite: Path | None = None
    arrays: Library = "numpy"

    def __str__(self) -> str:
        return self.name

    @property
    def __name__(self) -> str:  # pytest makes it the id of a parameter
        return self.name

    @cached_property
    def _exported(self) -> tempfile.TemporaryDirectory[str]:
        """The folder that the command exported the case to. It is removed with the case."""
        folder = tempfile.TemporaryDirectory(prefix="difftest-")
        _binary.demand(["export", folder.name, "--case", self.name, *fixtures(self.suite)])
        return folder

    @property
    def _folder(self) -> Path:
        return Path(self._exported.name, self.name)

    @cached_property
    def _request(self) -> Mapping[str, Any]:
        request: Mapping[str, Any] = json.loads((self._folder / "request.json").read_text(encoding="utf-8"))
        return request

    @property
    def config(self) -> Mapping[str, Any]:
        """The configuration, with no default left to know."""
        return MappingProxyType(self._request["config"])

    @property
    def precision(self) -> str:
        """The type of the inputs and of the output: float16, bfloat16, float32 or float64."""
        return str(self._request["precision"])

    @property
    def needs_weights(self) -> bool:
        """Whether the case asks for attention weights beside the output."""
        return self._request["weights"] is not None

    @property
    def inputs(self) -> dict[str, Any]:
        """The inputs by their names. Names of the same array share it, as in self-attention."""
        return self._read("inputs")

    @property
    def state_dict(self) -> dict[str, Any]:
        """The parameters by their keys, empty if the operation has none."""
        return self._read("state_dict")

    def _read(self, section: str) -> dict[str, Any]:
        """Return fresh arrays by name, one for each file."""
        files: Mapping[str, str] = self._request[section]
        made = {file: load(self._folder / file, self.arrays) for file in set(files.values())}
        return {name: made[file] for name, file in files.items()}


def load(file: Path, library: Library) -> Any:
    """Return the array in a file; float32 for NumPy where uint16 holds the bits of bfloat16."""
    array = np.load(file, allow_pickle=False)
    bits = array.dtype == np.uint16
    if bits:
        array = (array.astype(np.uint32) << 16).view(np.float32)
    if library == "numpy":
        return array
    import torch

    tensor = torch.from_numpy(array)
    return tensor.bfloat16() if bits else tensor


def cases(
    *patterns: str,
    skip: Iterable[str] | str = (),
    suite: PathLike | None = None,
    arrays: Library = "numpy",
) -> list[Case]:
    """Return the cases that any of the patterns selects, all cases without one.

    A pattern is a glob such as "mha/**", or a word of the name. `skip` leaves out what its patterns
    select. `suite` is a folder of cases, in place of the embedded ones. With
    arrays="torch" the cases hold tensors of PyTorch. DifftestError if nothing is selected.

        @pytest.mark.parametrize("case", difftest.cases("sdpa/**", skip="alibi"))
        def test_attention(case):
            difftest.assert_matches(case, attention(**case.inputs, **case.config))

    >>> import difftest
    >>> [str(case) for case in difftest.cases("seed/*")]
    ['seed/causal', 'seed/unmasked']
    """
    if arrays not in ("numpy", "torch"):
        raise ValueError(f'arrays: {arrays!r}, want "numpy" or "torch"')
    folder = None if suite is None else Path(suite).resolve()
    skipped = [skip] if isinstance(skip, str) else list(skip)
    chosen = [
        *(word for pattern in patterns for word in ("--case", pattern)),
        *(word for pattern in skipped for word in ("--skip", pattern)),
    ]
    listed = json.loads(_binary.demand(["list", "--json", *chosen, *fixtures(folder)]))
    return [
        Case(entry["case"], entry["purpose"], entry["op"], tuple(entry["shape"]), folder, arrays)
        for entry in listed["cases"]
    ]


def case(name: str, *, suite: PathLike | None = None, arrays: Library = "numpy") -> Case:
    """Return the case of a name. DifftestError if there is none, with the name that was meant."""
    found = cases(name, suite=suite, arrays=arrays)
    for one in found:
        if one.name == name:
            return one
    if len(found) > 1:
        raise ambiguous(name, [one.name for one in found])
    return found[0]


def ambiguous(name: str, names: list[str]) -> _binary.DifftestError:
    """Return the error about a pattern where the name of one case is wanted."""
    return _binary.DifftestError(f'"{name}" selects {len(names)} cases, want one of {", ".join(names)}', 2)


def fixtures(suite: Path | None) -> list[str | Path]:
    """Return the flag that names a suite."""
    return [] if suite is None else ["--fixtures", suite]
