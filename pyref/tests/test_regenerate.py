"""The script: it runs on one Python, prepares the environment once, and passes the rest on."""

import runpy
import sys

import pytest

from pyref import environment
from pyref.tests.support import REGENERATE, python


def test_another_python_is_told_which_one_is_wanted(monkeypatch):
    monkeypatch.setattr(sys, "version", "3.12.1 (main)")
    monkeypatch.setattr(sys, "argv", ["regenerate"])
    with pytest.raises(SystemExit, match=r"this is python 3\.12\.1, want 3\.11"):
        runpy.run_path(str(REGENERATE), run_name="__main__")


def test_an_install_counts_once_its_stamp_is_of_these_requirements(tmp_path):
    script = runpy.run_path(str(REGENERATE))
    installed = script["installed"]
    stamp = installed.__globals__["STAMP"] = tmp_path / "stamp"
    assert not installed()
    stamp.write_text("of other requirements")
    assert not installed()
    stamp.write_text(script["fingerprint"]())
    assert installed()


def test_an_install_is_stamped_once_it_is_whole(tmp_path):
    script = runpy.run_path(str(REGENERATE))
    script["install"].__globals__.update(
        VENV=tmp_path / "venv",
        PYTHON=tmp_path / "venv/bin/python",
        STAMP=tmp_path / "venv/stamp",
        REQUIREMENTS=tmp_path / "requirements.txt",
    )
    (tmp_path / "requirements.txt").write_text("numpy==2.4.6\n")  # no hash, so pip refuses it
    with pytest.raises(SystemExit, match="the install failed"):
        script["install"]()
    assert (tmp_path / "venv/bin/python").exists()
    assert not script["installed"]()
    (tmp_path / "requirements.txt").write_text("# nothing, which is soon installed\n")
    script["install"]()
    assert script["installed"]()


def test_run_is_given_the_variables_and_the_arguments():
    code = "import os, sys; print(sys.argv[1:], *(os.environ[name] for name in sys.argv[1:]))"
    names = list(environment.VARIABLES)
    result = python(str(REGENERATE), "--run", "-c", code, *names, **dict.fromkeys(names, "wrong"))
    assert result.stdout == f"{names} {' '.join(environment.VARIABLES.values())}\n"


def test_every_requirement_has_its_hashes_and_no_address():
    text = (REGENERATE.parent / "requirements.txt").read_text()
    requirements = text.replace("\\\n", "").splitlines()
    assert [line for line in requirements if "==" in line and "--hash=sha256:" not in line] == []
    assert "://" not in text
