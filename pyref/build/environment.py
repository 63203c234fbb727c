"""The versions and variables that make PyTorch's bytes the same on every x86-64 machine with AVX2.

This module imports the standard library only, because `pyref/regenerate` reads it before any
package is installed.
"""

from __future__ import annotations  # an older Python then gets as far as the message about itself

import os
import platform
from importlib import metadata
from pathlib import Path

PYTHON = "3.11"

# Without the first variable ATen chooses its kernels by CPU, without the second MKL does. Both are
# read once, when torch is loaded. ATEN_CPU_CAPABILITY=default is not enough: its float64 exp comes
# from the C library and differs between CPUs.
VARIABLES = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "COMPATIBLE"}

# Set only by `regenerate --torch VERSION`: the version to accept instead of the pinned one.
OTHER_TORCH = "PYREF_TORCH"

REQUIREMENTS = Path(__file__).parents[1] / "requirements.in"


def require() -> None:
    """Raise RuntimeError with every wrong version and variable, unless there is none."""
    problems = wrong_versions() + wrong_variables()
    if problems:
        raise RuntimeError("pyref runs through pyref/regenerate only: " + "; ".join(problems))


def wrong_versions() -> list[str]:
    """Return a message for Python and each package whose version differs from the pinned one."""
    found = {"python": python()}
    found |= {name: metadata.version(name) for name in pins()}
    wanted = {"python": PYTHON} | pins(os.environ.get(OTHER_TORCH))
    return [f"{name} is {found[name]}, want {wanted[name]}" for name in wanted if found[name] != wanted[name]]


def python() -> str:
    """Return the major and minor version of this Python."""
    return platform.python_version().rpartition(".")[0]


def wrong_variables() -> list[str]:
    """Return a message for each of `VARIABLES` with another value."""
    return [
        f"{name} is {os.environ.get(name, 'not set')}, want {value}"
        for name, value in VARIABLES.items()
        if os.environ.get(name) != value
    ]


def variables() -> dict[str, str]:
    """Return the current values of those `VARIABLES` that are set."""
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}


def pins(torch: str | None = None) -> dict[str, str]:
    """Return the version of each package in requirements.in, PyTorch's replaced by `torch`."""
    lines = REQUIREMENTS.read_text(encoding="ascii").splitlines()
    pinned = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    return pinned | ({"torch": torch} if torch else {})
