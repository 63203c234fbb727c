"""Judge an output: the verdict on it, and the mistake that explains it."""

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from difftest import _binary
from difftest._arrays import save_output
from difftest._cases import Case, PathLike, ambiguous, case, fixtures
from difftest._result import Cause, Outputs, Result, without_rerun

# The name of a case is also the path of its folder.
NAME = re.compile(r"(?!\.)[\w.-]+(/(?!\.)[\w.-]+)*", re.ASCII)


class Recorder(Protocol):
    """Keeps the outputs of a session, and finds the causes of all its failures."""

    def folder(self) -> Path | None:
        """Return a new folder for one output, None if it need not be kept."""

    def judged(self, result: Result) -> None:
        """Take note of a result."""


# The recorder of the session, if pytest runs.
recorder: Recorder | None = None


def check(
    case: Case | str,
    output: object,
    *,
    weights: object = None,
    trace: Mapping[str, object] | None = None,
    precision: str = "",
    suite: PathLike | None = None,
) -> Result:
    """Judge an output of a case, and find the mistake that explains it if it is wrong.

    `output` is an array, a tensor on any device, or nested lists; or a tuple of the output and the
    attention weights, as a layer of PyTorch returns them. `weights` are the attention weights, if
    the case asks for them. `trace` holds outputs of modules inside a model by their paths, and
    finds the first wrong one. `precision` declares an arithmetic of fewer bits than the case has:
    float16, bfloat16, tf32, int8-cache, fp8-e4m3-cache or fp8-e5m2-cache. `suite` is a folder of
    cases, in place of the embedded ones.

    TypeError or ValueError if `output` holds no floats. DifftestError if there is no such case.

    >>> import difftest
    >>> import numpy as np
    >>> result = difftest.check("seed/causal", np.zeros((4, 12, 64)))
    >>> result.verdict, result.kind
    ('fail', 'dead')
    """
    suite = (case.suite if isinstance(case, Case) else None) if suite is None else Path(suite).resolve()
    name = str(case)
    if not NAME.fullmatch(name):
        raise no_such_case(name, suite)
    if isinstance(output, tuple):
        output, given = pair(output)
        weights = given if weights is None and needs_weights(case, suite) else weights
    declared = ["--precision", precision] if precision else []
    outputs = Outputs(recorder.folder() if recorder else None, name, [*fixtures(suite), *declared])
    save_output(outputs.folder / name, output, weights=weights, trace=trace)
    result = judged(outputs)
    if recorder:
        recorder.judged(result)
    return result


def assert_matches(
    case: Case | str,
    output: object,
    *,
    weights: object = None,
    trace: Mapping[str, object] | None = None,
    precision: str = "",
    suite: PathLike | None = None,
) -> None:
    """Raise AssertionError, with the failure in eight lines, if an output is wrong.

    check describes the arguments.

    >>> import difftest
    >>> import numpy as np
    >>> difftest.assert_matches("seed/causal", np.zeros((4, 12, 64)))
    Traceback (most recent call last):
    AssertionError: FAIL seed/causal  dead
      why       every element is 0
      size      rel 1, gain 0, cosine NaN; 100.0 % of 3072 elements wrong
      ...
    """
    __tracebackhide__ = True  # pytest shows the line of the test
    result = check(case, output, weights=weights, trace=trace, precision=precision, suite=suite)
    if not result.passed:
        raise AssertionError(result.brief)


def pair(output: tuple[object, ...]) -> tuple[object, object]:
    """Return an output and its attention weights."""
    if len(output) != 2:
        raise TypeError(f"output: a tuple of {len(output)}, want an output, or an output and its weights")
    return output[0], output[1]


def needs_weights(one: Case | str, suite: Path | None) -> bool:
    """Report whether a case asks for attention weights."""
    return (one if isinstance(one, Case) else case(one, suite=suite)).needs_weights


def no_such_case(name: str, suite: Path | None) -> _binary.DifftestError:
    """Return the error about a name that no case can have."""
    try:
        one = case(name, suite=suite)
    except _binary.DifftestError as error:
        return error
    return ambiguous(name, [one.name])


def judged(outputs: Outputs) -> Result:
    """Return the verdict on a folder of outputs."""
    with tempfile.TemporaryDirectory(prefix="difftest-") as scratch:
        brief, detail = Path(scratch) / "brief", Path(scratch) / "detail"
        reports = ["--json", "--report", f"brief={brief}", "--report", f"detail={detail}"]
        done = _binary.run([*outputs.command(), *reports])
        report, result = read(outputs.case, done)
        texts = [file.read_text(encoding="utf-8") for file in (brief, detail)]
    if not outputs.kept:
        result.pop("rerun", None)
        texts = [without_rerun(text) for text in texts]
    return Result(
        case=outputs.case,
        verdict=result["verdict"],
        kind=result.get("class", ""),
        causes=tuple(
            Cause(cause["id"], cause["title"], cause["fix"], tuple(cause["alternatives"]))
            for cause in report["causes"]
        ),
        explanation="\n".join([*result["reasons"], *result["findings"]]) or result.get("error", ""),
        brief=texts[0].rstrip(),
        text=texts[1].rstrip(),
        report=report,
        _outputs=outputs,
    )


def read(name: str, done: _binary.Finished) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the report of the command, and its result for one case; DifftestError without one."""
    try:
        report = json.loads(done.stdout)
    except json.JSONDecodeError:
        raise _binary.DifftestError(_binary.message(done.stderr), done.status) from None
    if "failure" in report:
        raise _binary.DifftestError(report["failure"]["message"], done.status)
    for result in report["results"]:
        if result["case"] == name:
            return report, result
    if report["results"]:
        raise ambiguous(name, [result["case"] for result in report["results"]])
    broken = [f"{broken['case']}: {broken['error']}" for broken in report["broken"]]
    raise _binary.DifftestError("\n".join(broken) or _binary.message(done.stderr), done.status)
