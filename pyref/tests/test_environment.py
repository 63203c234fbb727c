"""Another torch, or missing variables, stop every run."""

import ast
from pathlib import Path

import pytest

from pyref.build import environment
from pyref.tests.support import ROOT


def test_every_wrong_version_is_named(monkeypatch):
    monkeypatch.setattr(environment.metadata, "version", lambda name: "0.1")
    monkeypatch.setattr(environment.platform, "python_version", lambda: "3.12.0")
    with pytest.raises(RuntimeError) as caught:
        environment.require()
    for problem in ("python is 3.12, want 3.11", "torch is 0.1, want 2.15.0", "numpy is 0.1, want 2.4.6"):
        assert problem in str(caught.value)


def test_another_torch_is_accepted_only_where_it_was_asked_for(monkeypatch):
    versions = environment.pins("2.14.1")
    monkeypatch.setattr(environment.metadata, "version", versions.get)
    with pytest.raises(RuntimeError, match=r"only: torch is 2\.14\.1, want 2\.15\.0$"):
        environment.require()
    monkeypatch.setenv(environment.OTHER_TORCH, "2.14.1")
    environment.require()
    versions["torch"], versions["numpy"] = environment.pins()["torch"], "0.1"
    with pytest.raises(RuntimeError, match=r"only: torch is 2\.15\.0, want 2\.14\.1; numpy is 0\.1, want"):
        environment.require()


def test_only_what_runs_in_the_users_environment_imports_another_torch_than_the_pinned_one():
    sources = [path for path in ROOT.rglob("*.py") if "/.venv" not in str(path)]
    found = {path.relative_to(ROOT / "pyref") for path in sources if "torch" in imported(path)}
    users = {"capture", "examples", "package", "serve.py", "trace.py"}
    assert {path for path in found if path.parts[0] not in users} == {Path("build/pinned_torch.py")}


def imported(path: Path) -> set[str]:
    """Return the top-level packages that a source file imports."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {name.split(".")[0] for name in plain | {n.module for n in nodes if isinstance(n, ast.ImportFrom)}}
