"""The wheel holds what it says: the command for its platform, and pyref under another name."""

import ast
import importlib.util
import os
import sys
import zipfile
from pathlib import Path

import pytest

from commands import run

PACKAGE = Path(__file__).resolve().parents[1]
pytest.importorskip("hatchling", reason="needs what builds the package")


@pytest.fixture(scope="module")
def hook():
    """Return the build hook as a module."""
    spec = importlib.util.spec_from_file_location("hatch_build", PACKAGE / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_imports_of_pyref_become_imports_of_the_package(hook):
    text = "from pyref.capture import run\n    from pyref import serve\nx = 'from pyref'\n"
    assert hook.renamed(text).splitlines() == [
        "from difftest._pyref.capture import run",
        "    from difftest._pyref import serve",
        "x = 'from pyref'",
    ]


def test_no_module_imports_pyref(hook):
    for file in hook.carried():
        text = hook.renamed(file.read_text(encoding="utf-8"))
        names = hook.imported(ast.parse(text))
        assert "pyref" not in names, file


def test_users_get_what_they_need_and_not_the_builder_of_fixtures(hook):
    carried = {file.relative_to(hook.ROOT / "pyref").as_posix() for file in hook.carried()}
    assert carried >= {"__init__.py", "commands.py", "serve.py", "subject.py", "trace.py", "capture/blind.py"}
    assert carried >= {"capture/graph/store.py", "capture/graph/rules/attention.py"}
    assert not carried & {"build/pinned_torch.py", "build/suite.py", "__main__.py"}
    assert not [file for file in carried if file.startswith(("table/", "planted/", "models/", "zoo/"))]


def test_an_unknown_platform_is_refused(tmp_path):
    command = [sys.executable, PACKAGE / "build_wheels.py", "--into", tmp_path, "--target", "plan9-mips"]
    assert "invalid choice: 'plan9-mips'" in run(*command).stderr


# The first bytes of a program, by its platform: ELF with its machine, Mach-O, PE.
MAGIC = {"linux": b"\x7fELF", "darwin": b"\xcf\xfa\xed\xfe", "windows": b"MZ"}


def test_every_wheel_of_a_folder_fits_its_tags(hook):
    if "DIFFTEST_WHEELS" not in os.environ:
        pytest.skip("DIFFTEST_WHEELS names no folder of wheels")
    wheels = list(Path(os.environ["DIFFTEST_WHEELS"]).glob("*.whl"))
    assert wheels
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
            script = next(name for name in names if ".data/scripts/" in name)
            program = archive.open(script).read(4)
            tags = archive.read(next(name for name in names if name.endswith("/WHEEL"))).decode()
        kept = {name.rpartition("/")[2] for name in names if ".dist-info/licenses/" in name}
        assert kept == {"LICENSE", "THIRD_PARTY_LICENSES.md"}
        [target] = [name for name, tag in hook.TAGS.items() if wheel.name.endswith(f"-none-{tag}.whl")]
        assert program.startswith(MAGIC[target.split("-")[0]])
        assert script.endswith(".exe") == target.startswith("windows")
        assert all(f"Tag: py3-none-{tag}\n" in tags for tag in hook.TAGS[target].split("."))
        assert {name.split("/")[0] for name in names if ".d" not in name.split("/")[0]} == {"difftest"}
