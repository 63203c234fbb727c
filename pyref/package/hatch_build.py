"""Put the command, built by Go, and the carried modules of pyref into the wheel.

The environment variable DIFFTEST_TARGET names the platform, such as linux-arm64. Without it, the
wheel is for this machine. Two builds of the same sources with the same Go give the same bytes.
"""

import ast
import os
import platform
import re
import shutil
import sys
import tempfile
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # a build may run in another folder

from go_build import LICENSES, ROOT, build  # noqa: E402

# The tags of a wheel by its platform. A static binary runs with any C library of Linux. Go 1.26
# needs macOS 12.
TAGS = {
    "linux-amd64": "manylinux_2_17_x86_64.manylinux2014_x86_64.musllinux_1_1_x86_64",
    "linux-arm64": "manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64",
    "darwin-amd64": "macosx_12_0_x86_64",
    "darwin-arm64": "macosx_12_0_arm64",
    "windows-amd64": "win_amd64",
    "windows-arm64": "win_arm64",
}

# The modules of pyref that the package offers. What they import comes along.
CARRIED = ["pyref.commands", "pyref.subject", "pyref.trace"]


class CustomBuildHook(BuildHookInterface):
    """The build hook that hatchling finds in this file."""

    def initialize(self, version: str, build_data: dict) -> None:
        """Add the binary as a script, and the modules of pyref as difftest._pyref."""
        target = os.environ.get("DIFFTEST_TARGET") or this_machine()
        if target not in TAGS:
            raise ValueError(f"DIFFTEST_TARGET: {target!r}, want one of {', '.join(TAGS)}")
        self.scratch = Path(tempfile.mkdtemp(prefix="difftest-wheel-"))
        command = self.scratch / ("difftest.exe" if target.startswith("windows") else "difftest")
        build(command, target, f"v{self.metadata.version}")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{TAGS[target]}"
        build_data["shared_scripts"][str(command)] = command.name
        for name in LICENSES:
            path = f"difftest-{self.metadata.version}.dist-info/licenses/{name}"
            build_data["force_include"][str(ROOT / name)] = path
        for module in carried():
            file = self.scratch / "_pyref" / module.relative_to(ROOT / "pyref")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(renamed(module.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
        build_data["force_include"][str(self.scratch / "_pyref")] = "difftest/_pyref"

    def finalize(self, version: str, build_data: dict, artifact_path: str) -> None:
        """Remove what initialize made."""
        shutil.rmtree(self.scratch)


def this_machine() -> str:
    """Return the platform of this machine as Go names it, such as darwin-arm64."""
    processor = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine().lower())
    return f"{platform.system().lower()}-{processor}"


def carried() -> list[Path]:
    """Return the files of the modules in CARRIED and of all modules of pyref that they import."""
    files: set[Path] = set()
    names = list(CARRIED)
    while names:
        file = source(names.pop())
        if file is None or file in files:
            continue
        files.add(file)
        names += imported(ast.parse(file.read_text(encoding="utf-8")))
    return sorted(files)


def source(module: str) -> Path | None:
    """Return the file of a module of pyref, None for another name."""
    path = ROOT.joinpath(*module.split("."))
    for file in (path / "__init__.py", path.with_suffix(".py")):
        if module.split(".")[0] == "pyref" and file.is_file():
            return file
    return None


def imported(tree: ast.Module) -> list[str]:
    """Return what a module may import: each name, and the packages above it."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    parts = [name.split(".") for name in names]
    return [".".join(part[:end]) for part in parts for end in range(1, len(part) + 1)]


def renamed(text: str) -> str:
    """Return a module's text with its imports from pyref as imports from difftest._pyref.

    Another distribution owns the name pyref, so the wheel installs no module of that name.
    """
    return re.sub(r"^(\s*from )pyref\b", r"\1difftest._pyref", text, flags=re.MULTILINE)
