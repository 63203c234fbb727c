"""The script regenerate runs on one Python, and prepares the environment once."""

import os
import runpy
import sys

import pytest

from pyref.build import environment
from pyref.tests.support import REGENERATE, python


def test_another_python_is_told_which_one_is_wanted(monkeypatch):
    monkeypatch.setattr(sys, "version", "3.12.1 (main)")
    monkeypatch.setattr(sys, "argv", ["regenerate"])
    with pytest.raises(SystemExit, match=r"this is python 3\.12\.1, want 3\.11"):
        runpy.run_path(str(REGENERATE), run_name="__main__")


@pytest.fixture
def script() -> dict:
    """Return the globals of the script."""
    return runpy.run_path(str(REGENERATE))


def test_an_install_counts_once_its_stamp_is_of_these_requirements(script, tmp_path):
    chosen = script["Environment"](tmp_path, [], "of these")
    assert not chosen.installed()
    chosen.stamp.write_text("of others")
    assert not chosen.installed()
    chosen.stamp.write_text("of these")
    assert chosen.installed()


def test_an_install_is_stamped_once_it_is_whole(script, tmp_path):
    requirements = tmp_path / "requirements.txt"
    packages = ["--require-hashes", "--requirement", requirements]
    chosen = script["Environment"](tmp_path / "venv", packages, "of these")
    requirements.write_text("numpy==2.4.6\n")  # no hash, so pip refuses it
    with pytest.raises(SystemExit, match="the install failed"):
        chosen.install()
    assert chosen.python.exists()
    assert not chosen.installed()
    requirements.write_text("# no package\n")
    chosen.install()
    assert chosen.installed()


def test_the_pinned_packages_are_installed_by_hash(script):
    chosen = script["pinned"]()
    assert chosen.folder == REGENERATE.parent / ".venv"
    assert chosen.packages == ["--require-hashes", "--requirement", REGENERATE.parent / "requirements.txt"]


def test_another_torch_has_its_own_environment_with_the_other_pins(script):
    first, second = script["other"]("2.14.1"), script["other"]("2.14.0")
    assert first.folder == REGENERATE.parent / ".venv-2.14.1"
    assert first.packages == [
        f"{name}=={pin}" for name, pin in (environment.pins() | {"torch": "2.14.1"}).items()
    ]
    assert len({first.fingerprint, second.fingerprint, script["pinned"]().fingerprint}) == 3


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--torch", "2.14.1"], "name another folder than fixtures"),
        (["--torch", "2.14.1", "--into", "fixtures/../fixtures"], "name another folder than fixtures"),
        (["--torch", "2.14.1", "--into", "other", "--check"], "not allowed with argument"),
        (["--torch", "../venv", "--into", "other"], "'../venv', want three numbers such as 2.15.0"),
    ],
)
def test_another_torch_never_touches_the_committed_fixtures(arguments, problem):
    result = python(str(REGENERATE), *arguments)
    assert result.returncode == 2
    assert problem in result.stderr


def test_another_torch_is_accepted_where_regenerate_was_asked_for_it(script, monkeypatch, tmp_path):
    ran = []
    scope = script["main"].__globals__
    monkeypatch.setitem(scope, "other", lambda torch: scope["Environment"](tmp_path / torch, [], ""))
    monkeypatch.setattr(scope["Environment"], "installed", lambda chosen: True)
    monkeypatch.setattr(os, "execv", lambda *arguments: ran.append((arguments, dict(os.environ))))
    monkeypatch.setattr(sys, "argv", ["regenerate", "--torch", "2.14.1", "--into", "elsewhere"])
    for name in (environment.OTHER_TORCH, "PYTHONPATH", *environment.VARIABLES):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    script["main"]()
    program = tmp_path / "2.14.1/bin/python"
    (path, arguments), variables = ran[0]
    assert path == program
    assert arguments == [program, "-m", "pyref", "generate", "elsewhere"]
    assert variables[environment.OTHER_TORCH] == "2.14.1"


def test_run_is_given_the_variables_and_the_arguments():
    code = "import os, sys; print(sys.argv[1:], *(os.environ[name] for name in sys.argv[1:]))"
    names = list(environment.VARIABLES)
    result = python(str(REGENERATE), "--run", "-c", code, *names, **dict.fromkeys(names, "wrong"))
    assert result.stdout == f"{names} {' '.join(environment.VARIABLES.values())}\n"


def test_another_torch_in_the_callers_variables_is_not_asked_for():
    code = f"import os; print(os.environ.get('{environment.OTHER_TORCH}'))"
    result = python(str(REGENERATE), "--run", "-c", code, **{environment.OTHER_TORCH: "2.14.1"})
    assert result.stdout == "None\n"


def test_every_requirement_has_its_hashes_and_no_address():
    text = (REGENERATE.parent / "requirements.txt").read_text()
    requirements = text.replace("\\\n", "").splitlines()
    assert [line for line in requirements if "==" in line and "--hash=sha256:" not in line] == []
    assert "://" not in text
