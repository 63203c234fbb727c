"""Draw cases of many shapes for functions, each in a program of its own."""

import importlib
import importlib.util
import json
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from difftest import _binary
from difftest._cases import Case, PathLike, fixtures
from difftest._result import without_rerun
from difftest._serve import Function, serve

PASSED, FAILED = 0, 1  # exit status
PROGRAM = "from difftest._fuzz import main; main()"


def fuzz(
    *,
    sdpa: Function | None = None,
    mha: Function | None = None,
    module: Function | None = None,
    case: Case | str = "",
    suite: PathLike | None = None,
    count: int = 500,
    minutes: float | None = None,
    seed: int = 1,
    corpus: PathLike | None = None,
    timeout: float = 10.0,
    jobs: int = 1,
    precision: str = "",
    features: Sequence[str] | None = None,
) -> None:
    """Raise AssertionError if functions are wrong for some shapes, with the condition.

        def test_any_shape():
            difftest.fuzz(sdpa=attention, count=500, corpus="fuzz-cases")

    difftest draws `count` cases among what the functions offer, most of them at edges: shapes of 1,
    powers of two and their neighbours, windows that do not divide. The error holds the smallest
    failing case of each cause, and the condition under which cases fail. serve describes the
    functions, `precision` and `features`. A function offers what it does not refuse with
    NotImplementedError.

    `module` computes a captured module, `case`, with inputs of other shapes. The module was
    captured with vary=True. `suite` is the folder of the case, in place of the embedded ones.

    `minutes` bounds the time of the draws. `corpus` is a folder for the smallest failing cases,
    which run first the next time. `seed` decides the draws, whatever `jobs` is. The functions run
    in `jobs` programs, so that a crash or a hang of more than `timeout` seconds fails its case
    alone. So a function must stand at the top of a module or of a file, and not inside another one.

    ValueError for a function that stands elsewhere. DifftestError for wrong usage, and if every
    case was skipped.
    """
    __tracebackhide__ = True  # pytest shows the line of the test
    given = {"sdpa": sdpa, "mha": mha, "module": module}
    functions = {operation: place(function) for operation, function in given.items() if function is not None}
    if not functions or (module is not None) != bool(str(case)):
        raise ValueError("fuzz: want sdpa or mha, or module and case")
    served: dict[str, Any] = {"path": sys.path, "functions": functions, "precision": precision}
    if features is not None:
        served["features"] = list(features)
    if suite is None and isinstance(case, Case):
        suite = case.suite
    with tempfile.TemporaryDirectory(prefix="difftest-") as scratch:
        flags: list[object] = ["--count", count, "--seed", seed, "--corpus", corpus or scratch]
        flags += ["--timeout", f"{timeout}s", "--jobs", jobs]
        flags += [] if minutes is None else ["--for", f"{minutes * 60}s"]
        flags += ["--case", case, *fixtures(Path(suite) if suite else None)] if str(case) else []
        program = ["--", sys.executable, "-c", PROGRAM, json.dumps(served)]
        done = _binary.run(["fuzz", *map(str, [*flags, *program])])
    if done.status == FAILED:
        raise AssertionError(readable(done.stdout, keep_rerun=corpus is not None))
    if done.status != PASSED:
        raise _binary.DifftestError(_binary.message(done.stderr), done.status)


def place(function: Function) -> dict[str, str]:
    """Return where a function stands; ValueError if another process could not find it."""
    name = getattr(function, "__qualname__", "")
    module = sys.modules.get(getattr(function, "__module__", ""))
    file = getattr(module, "__file__", None)
    if module is None or file is None or not name or "<" in name:
        raise ValueError(f"fuzz: {function!r} does not stand at the top of a module or of a file")
    found: object = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not function:
        raise ValueError(f"fuzz: {name} in {file} is another function")
    return {"module": module.__name__, "file": str(Path(file).resolve()), "name": name}


def readable(text: str, *, keep_rerun: bool) -> str:
    """Return the report without the program's command line, which holds the path of Python."""
    text = re.sub(r"\A.*(?=, seed \d)", "difftest.fuzz", text, count=1, flags=re.DOTALL)
    if not keep_rerun:
        text = without_rerun(text)
    return re.sub(
        r"(?m)^(  rerun .*?)(?: --timeout \S+)?(?: --jobs \S+)? -- .*$", r"\1 -- CMD", text
    ).rstrip()


def main() -> None:
    """Serve the functions that the last argument names."""
    served = json.loads(sys.argv[-1])
    sys.path[:] = served.pop("path")
    functions = {operation: load(**where) for operation, where in served.pop("functions").items()}
    serve(**functions, **served)


def load(module: str, file: str, name: str) -> Any:
    """Return a function of a module, which may be known by its file alone."""
    found: Any = imported(module, file)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def imported(module: str, file: str) -> ModuleType:
    """Import a module by its name if this gives its file, and otherwise by the file."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    if (
        module != "__main__"
        and spec is not None
        and spec.origin
        and Path(spec.origin).resolve() == Path(file)
    ):
        return importlib.import_module(module)
    own = importlib.util.spec_from_file_location(f"fuzzed_{Path(file).stem}", file)
    if own is None or own.loader is None:
        raise ImportError(f"{file}: no file of Python")
    made = importlib.util.module_from_spec(own)
    sys.modules[own.name] = made
    own.loader.exec_module(made)
    return made
