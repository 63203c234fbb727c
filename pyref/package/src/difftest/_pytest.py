"""The plugin for pytest: at the end of the session, the causes of all failures of difftest.

A test of one case does not know the others. The plugin keeps the outputs that the tests judge. At
the end the command judges all outputs of each test function together, as `difftest check DIR` does:
a cause must fit all failures, and no passing case may contradict it. Different functions may test
different implementations, so nothing is concluded from one about another.
"""

import os
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from difftest import _binary, _judge
from difftest._cases import Case
from difftest._result import Result

NAME = "difftest-session"  # of the plugin
HANDED_OVER = "difftest"  # by a worker of pytest-xdist


@dataclass(frozen=True)
class Record:
    """An output that a test judged. It consists of what JSON can hold."""

    test: str
    group: str  # the outputs of one implementation have the same
    case: str
    passed: bool
    causes: str
    folder: str
    arguments: list[str]


class Session:
    """The recorder of this process, and the plugin."""

    def __init__(self) -> None:
        self.base: Path | None = None  # None before the first test
        self.item: pytest.Item | None = None
        self.count = 0
        self.records: list[Record] = []

    def folder(self) -> Path | None:
        """Return a new folder for one output, None if no test runs."""
        if self.base is None or self.item is None:
            return None
        self.count += 1
        return self.base / str(self.count)

    def judged(self, result: Result) -> None:
        """Take note of a result."""
        outputs = result._outputs
        if self.item is None or not outputs.kept:
            return
        named = ", ".join(cause.id for cause in result.causes) or "no cause is named"
        self.records.append(
            Record(
                test=self.item.nodeid,
                group=group(self.item, result.case),
                case=result.case,
                passed=result.passed,
                causes=f"{result.kind}: {named}" if result.kind else result.explanation,
                folder=str(outputs.folder),
                arguments=[str(argument) for argument in outputs.arguments],
            )
        )

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Know which test runs."""
        self.item = item

    @pytest.hookimpl
    def pytest_runtest_logfinish(self) -> None:
        """Know that no test runs."""
        self.item = None

    @pytest.hookimpl
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Hand the records of a worker over."""
        handed = getattr(session.config, "workeroutput", None)
        if handed is not None:
            handed[HANDED_OVER] = [asdict(record) for record in self.records]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take the records of a worker."""
        for record in getattr(node, "workeroutput", {}).get(HANDED_OVER, []):
            self.records.append(Record(**record))

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Write the causes."""
        failed = {
            report.nodeid
            for outcome in ("failed", "error")
            for report in terminalreporter.stats.get(outcome, [])
        }
        lines = list(summary(self.records, failed))
        if lines:
            terminalreporter.section("causes, by difftest")
            for line in lines:
                terminalreporter.write_line(line)


def pytest_configure(config: pytest.Config) -> None:
    """Begin a session."""
    session = Session()
    config.pluginmanager.register(session, NAME)
    config.stash[PREVIOUS] = _judge.recorder
    _judge.recorder = session


@pytest.fixture(scope="session", autouse=True)
def _difftest_outputs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep outputs below pytest's temporary folder, where pytest cleans up."""
    session = request.config.pluginmanager.get_plugin(NAME)
    if isinstance(session, Session):
        session.base = tmp_path_factory.getbasetemp() / "difftest"


def pytest_unconfigure(config: pytest.Config) -> None:
    """End a session. A pytest that runs inside of another one leaves that one's recorder."""
    if PREVIOUS in config.stash:
        _judge.recorder = config.stash[PREVIOUS]


PREVIOUS = pytest.StashKey[_judge.Recorder | None]()


def group(item: pytest.Item, case: str) -> str:
    """Return the test function with its parameters but the case."""
    callspec = getattr(item, "callspec", None)
    others = [
        f"{name}={shown(value)}"
        for name, value in (callspec.params.items() if callspec else ())
        if not isinstance(value, Case) and value != case
    ]
    function = item.nodeid.partition("[")[0]
    return f"{function}[{', '.join(others)}]" if others else function


def shown(value: object) -> str:
    """Return a parameter as text, the same in every process."""
    if value is None or isinstance(value, (str, int, float)):
        return repr(value)
    return str(getattr(value, "__qualname__", None) or type(value).__qualname__)


def summary(records: list[Record], failed: set[str]) -> Iterator[str]:
    """Yield the lines about all failures of tests that failed."""
    alone = []
    for name, together in implementations(records, failed):
        if len(together) == 1:
            alone.append(f"{together[0].test}: {together[0].causes}")
            continue
        yield f"{name}: {sum(not record.passed for record in together)} of {len(together)} outputs are wrong"
        yield from causes(together)
    yield from alone


def implementations(records: list[Record], failed: set[str]) -> Iterator[tuple[str, list[Record]]]:
    """Yield the records of each implementation that failed, each case once.

    If a test judges several outputs of its case, the first, the second and so on belong together.
    A wrong output in a test that did not fail was expected, and is left out.
    """
    groups = defaultdict[tuple[str | int, ...], list[Record]](list)
    seen = Counter[tuple[str | int, ...]]()
    for record in sorted(records, key=lambda record: record.folder.rpartition(os.sep)[0]):
        if not record.passed and record.test not in failed:
            continue
        key: tuple[str | int, ...] = (record.group, *record.arguments)
        seen[*key, record.case] += 1
        groups[*key, seen[*key, record.case]].append(record)
    for key, together in sorted(groups.items(), key=lambda item: str(item[0])):
        if not all(record.passed for record in together):
            yield str(key[0]), together


def causes(together: list[Record]) -> Iterator[str]:
    """Yield what the command says about outputs of one implementation."""
    with tempfile.TemporaryDirectory(prefix="difftest-") as scratch:
        outputs, text = Path(scratch) / "outputs", Path(scratch) / "causes"
        for record in together:
            shutil.copytree(Path(record.folder) / record.case, outputs / record.case, dirs_exist_ok=True)
        cases = [word for record in together for word in ("--case", record.case)]
        arguments = [*cases, "--forget", "--json", "--report", f"causes={text}", *together[0].arguments]
        done = _binary.run(["check", outputs, *arguments], reports_to_github=True)
        if not text.is_file():
            yield _binary.message(done.stderr)
            return
        yield from text.read_text(encoding="utf-8").rstrip().splitlines()
        yield from (line for line in done.stderr.splitlines() if line.startswith("::"))
