#!/usr/bin/env python3
"""Build the wheels of the Python package, one for each platform, from the sources in this checkout.

    pyref/package/build_wheels.py --into dist             for this machine
    pyref/package/build_wheels.py --into dist --all       for all platforms, and SHA256SUMS

It needs Python 3.11 or later, and Go. The build tools of requirements.txt are installed, by hash,
in .venv beside this file. Two builds of the same sources with the same Go give the same bytes.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

from go_build import TARGETS, write_sums

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Build what the command line asks for, and print the wheels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--into", type=Path, required=True, metavar="DIR", help="the folder for the wheels")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--all", action="store_true", help="build for all platforms")
    what.add_argument("--target", choices=TARGETS, help="build for another platform than this one")
    arguments = parser.parse_args()
    python = environment()
    for target in TARGETS if arguments.all else [arguments.target or ""]:
        build(python, target, arguments.into.resolve())
    if arguments.all:
        write_sums(arguments.into, arguments.into.glob("*.whl"))


def environment() -> Path:
    """Return the Python of an environment with the build tools, made anew if they have changed."""
    folder, requirements = HERE / ".venv", HERE / "requirements.txt"
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    stamp, sum_ = folder / "requirements.sha256", hashlib.sha256(requirements.read_bytes()).hexdigest()
    if not stamp.is_file() or stamp.read_text() != sum_:
        venv.create(folder, clear=True, with_pip=True)
        install = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        subprocess.run([*install, "--require-hashes", "--requirement", requirements], check=True)
        stamp.write_text(sum_)  # the last step, so that a killed install is redone
    return python


def build(python: Path, target: str, folder: Path) -> None:
    """Build one wheel, and print its file."""
    command = [python, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder]
    subprocess.run(command, cwd=HERE, env=os.environ | {"DIFFTEST_TARGET": target}, check=True)


if __name__ == "__main__":
    main()
