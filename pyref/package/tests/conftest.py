"""Tests of the installed package. Where it is not installed, it is built and put on the path."""

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1]


def pytest_configure(config: pytest.Config) -> None:
    """Install the package in a temporary folder, unless it is installed."""
    if importlib.util.find_spec("difftest") is not None:
        return
    folder = tempfile.TemporaryDirectory(prefix="difftest-package-")
    config.add_cleanup(folder.cleanup)
    build = [sys.executable, PACKAGE / "build_wheels.py", "--into", folder.name]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
    site = Path(folder.name) / "site"
    install = [sys.executable, "-m", "pip", "--quiet", "install", "--no-deps", "--target", site]
    subprocess.run([*install, *Path(folder.name).glob("*.whl")], check=True)
    sys.path.insert(0, str(site))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]).rstrip(
        os.pathsep
    )
