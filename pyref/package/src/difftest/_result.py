"""The verdict on one output."""

import html
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from difftest import _binary


@dataclass(frozen=True)
class Cause:
    """A mistake that explains a wrong output, or a description of the error.

    `id` is an entry of MISTAKES.md, or another word of the report. `alternatives` are mistakes that
    give the same output on this case.
    """

    id: str
    title: str
    fix: str
    alternatives: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """The verdict on one output, and the reason.

    `verdict` is "pass", "fail" or "error". `kind` is the class of a failure, such as
    "missing-feature", "wrong-weights" or "rounding". `causes` is empty if nothing is named for
    sure. `brief` is the failure in eight lines, `text` all of it. `report` is the report of
    `difftest check --json`, with every number.

    A result is true if the output passed. In a notebook it shows its section of the HTML report.
    """

    case: str
    verdict: str
    kind: str
    causes: tuple[Cause, ...]
    explanation: str
    brief: str = field(repr=False)
    text: str = field(repr=False)
    report: Mapping[str, Any] = field(repr=False)
    _outputs: "Outputs" = field(repr=False, compare=False)

    @property
    def passed(self) -> bool:
        """Whether the output is right."""
        return self.verdict == "pass"

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        """Return the section in a frame that can reach nothing outside of it."""
        page = html.escape(self._outputs.page(), quote=True)
        height = "12em" if self.passed else "40em"
        return (
            f'<iframe srcdoc="{page}" sandbox="allow-scripts" title="difftest: {html.escape(self.case)}" '
            f'style="width: 100%; height: {height}; border: 0; resize: vertical"></iframe>'
        )


class Outputs:
    """The folder with the outputs of one case. Its own folder is removed with the result."""

    def __init__(self, folder: Path | None, case: str, arguments: list[str | Path]) -> None:
        self._temporary = None
        if folder is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="difftest-")
            folder = Path(self._temporary.name)
        self.folder = folder
        self.case = case
        self.arguments = arguments

    @property
    def kept(self) -> bool:
        """Whether the folder outlives the result."""
        return self._temporary is None

    def command(self) -> list[str | Path]:
        """Return the arguments of the command that judges the outputs."""
        return ["check", self.folder, "--case", self.case, "--forget", *self.arguments]

    def page(self) -> str:
        """Return the section of the case in the HTML report, as a page."""
        with tempfile.TemporaryDirectory(prefix="difftest-") as scratch:
            page = Path(scratch) / "page.html"
            done = _binary.run([*self.command(), "--report", f"sections={page}"])
            if not page.is_file():
                raise _binary.DifftestError(_binary.message(done.stderr), done.status)
            text = page.read_text(encoding="utf-8")
            return text if self.kept else without_rerun(text)


def without_rerun(text: str) -> str:
    """Return a text without the command that judges the output again. Its file is gone by then."""
    return re.sub(r"^  rerun .*\n|\n  rerun .*(?=</pre>)", "", text, flags=re.MULTILINE)
