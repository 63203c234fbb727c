"""A release holds the command of a platform, its licenses, its modules, and checksums."""

import hashlib
import json
import shutil
import sys
from pathlib import Path

import pytest

from commands import run

ROOT = Path(__file__).resolve().parents[3]
RELEASE = ROOT / "pyref" / "package" / "build_release.py"


def test_a_release_has_a_static_command_and_lists_its_modules(tmp_path):
    if not (shutil.which("go") and shutil.which("git")) or not (ROOT / ".git").exists():
        pytest.skip("needs go and a checkout")
    done = run(sys.executable, RELEASE, "v1.2.3", tmp_path, "--target", "linux-amd64")
    if "toolchain" in done.stderr:
        pytest.skip("this go is older than go.mod says")
    assert done.returncode == 0, done.stderr
    assert {file.name for file in tmp_path.iterdir()} == {
        "LICENSE",
        "SHA256SUMS",
        "THIRD_PARTY_LICENSES.md",
        "difftest-v1.2.3-linux-amd64",
        "difftest-v1.2.3.spdx.json",
    }
    for line in (tmp_path / "SHA256SUMS").read_text().splitlines():
        total, name = line.split("  ")
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == total
    program = (tmp_path / "difftest-v1.2.3-linux-amd64").read_bytes()
    assert program.startswith(b"\x7fELF")
    assert b"/ld-linux" not in program[:4096], "a static program names no loader"
    assert str(ROOT).encode() not in program
    packages = json.loads((tmp_path / "difftest-v1.2.3.spdx.json").read_text())["packages"]
    licensed = (ROOT / "THIRD_PARTY_LICENSES.md").read_text()
    names = {package["name"]: package["versionInfo"] for package in packages}
    assert names.pop("github.com/difftest/difftest") == "v1.2.3"
    assert names.pop("stdlib").startswith("go1.")
    assert all(f"\n## {name} {number}\n" in licensed for name, number in names.items())
    assert "github.com/spf13/cobra" in names


def test_a_version_is_a_version_of_go_modules(tmp_path):
    done = run(sys.executable, RELEASE, "1.2", tmp_path)
    assert (done.returncode, "want a version such as v1.2.0" in done.stderr) == (2, True)
