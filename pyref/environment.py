"""What must hold before torch is imported, so that the same bytes come out on every x86-64 machine with AVX2.

Standard library only: `pyref/regenerate` reads it before there is anything to import.
"""

from __future__ import annotations  # so that an older Python gets as far as being told so

import os
import platform
from importlib import metadata
from pathlib import Path

PYTHON = "3.11"

# Without the first, ATen picks its kernels by CPU; without the second, MKL does. Both are read once, when
# torch is loaded. ATEN_CPU_CAPABILITY=default is not enough: its float64 exp is the C library's, which
# differs between CPUs.
VARIABLES = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "COMPATIBLE"}

# Set by `regenerate --torch VERSION` alone: the version to accept in place of the pinned one.
OTHER_TORCH = "PYREF_TORCH"

REQUIREMENTS = Path(__file__).with_name("requirements.in")


def require() -> None:
    """Raise RuntimeError, naming everything that is wrong at once, unless this process is the pinned one."""
    problems = wrong_versions() + wrong_variables()
    if problems:
        raise RuntimeError("pyref runs through pyref/regenerate only: " + "; ".join(problems))


def wrong_versions() -> list[str]:
    """Say which of Python and the pinned packages are not as `requirements.in` has them, or as asked for."""
    found = {"python": python()}
    found |= {name: metadata.version(name) for name in pins()}
    wanted = {"python": PYTHON} | pins(os.environ.get(OTHER_TORCH))
    return [f"{name} is {found[name]}, want {wanted[name]}" for name in wanted if found[name] != wanted[name]]


def python() -> str:
    """Return the version of this Python without its last number, as `PYTHON` is."""
    return platform.python_version().rpartition(".")[0]


def wrong_variables() -> list[str]:
    """Say which of `VARIABLES` are not set as they must be."""
    return [
        f"{name} is {os.environ.get(name, 'not set')}, want {value}"
        for name, value in VARIABLES.items()
        if os.environ.get(name) != value
    ]


def variables() -> dict[str, str]:
    """Return those of `VARIABLES` that are set, as they are."""
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}


def pins(torch: str | None = None) -> dict[str, str]:
    """Return the version of each package that `requirements.in` asks for, PyTorch's replaced by `torch`."""
    lines = REQUIREMENTS.read_text(encoding="ascii").splitlines()
    pinned = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    return pinned | ({"torch": torch} if torch else {})
