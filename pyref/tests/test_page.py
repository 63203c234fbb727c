"""The HTML page of a failing run, in a real browser.

The tests need Chromium and the packages of requirements-browser.txt. They are skipped without them.
"""

import importlib.resources
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from pyref.tests.support import ROOT, needs

sync_api = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_core_python")

NUMBER = Path(__file__).with_name("wrong_number.py")
CASES = [
    "mha/causal",
    "mha/causal-left-padding",
    "sdpa/causal",
    "sdpa/float-mask",
    "sdpa/unmasked",
    "seed/causal",
]


@pytest.fixture(scope="module")
def run(difftest, tmp_path_factory) -> tuple[Path, dict]:
    """Return the page of a run whose scale and window are wrong, and the same report as JSON."""
    page = tmp_path_factory.mktemp("page") / "report.html"
    cases = [argument for case in CASES for argument in ("--case", case)]
    report = difftest.report(*cases, "--report", f"html={page}", "--", sys.executable, NUMBER, "scale", "1.5")
    return page, report


@pytest.fixture(scope="module")
def browser():
    """Return Debian's Chromium, without a window."""
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=needs("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        yield chromium
        chromium.close()


WINDOWS = [(1400, "light"), (360, "dark")]
NAMES = ["wide", "narrow"]


@contextmanager
def opened(browser, file: Path, window: tuple[int, str]) -> Iterator:
    """Yield an open page. At the end nothing was asked of a network, and nothing complained."""
    width, scheme = window
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    messages, requests = [], []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(file.as_uri())
    yield page
    context.close()
    assert messages == []
    assert [url for url in requests if not url.startswith(("data:", file.as_uri()))] == []


@pytest.fixture(params=WINDOWS, ids=NAMES)
def page(run, browser, request):
    """Return the page of the run."""
    with opened(browser, run[0], request.param) as page:
        yield page


def listed(page) -> list[str]:
    """Return the cases in the strip that are not hidden."""
    return page.locator("li[data-case]:not([hidden])").evaluate_all("all => all.map(one => one.dataset.case)")


def test_nothing_is_wider_than_the_window(page):
    assert too_wide(page) == 0


def too_wide(page) -> int:
    """Return by how many pixels a page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def test_everyone_can_use_it(page):
    assert violations(page) == []


def violations(page) -> list[tuple]:
    """Return the rules of accessibility that axe-core finds broken, and where."""
    page.evaluate(importlib.resources.files(axe).joinpath("axe.min.js").read_text())
    found = page.evaluate("axe.run()")["violations"]
    return [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found]


def test_the_filter_hides_cases(page, run):
    failures = [result["case"] for result in run[1]["results"] if result["verdict"] == "fail"]
    assert listed(page) == [result["case"] for result in run[1]["results"]]
    page.get_by_label("Verdict").select_option("fail")
    assert listed(page) == failures
    (cause,) = run[1]["causes"]
    page.get_by_label("Cause").select_option(cause["id"])
    assert listed(page) == cause["failures"]
    page.get_by_label("Text").press_sequentially("CAUSAL")
    named = [case for case in cause["failures"] if "causal" in case]
    assert listed(page) == named
    sections = page.locator("section.case:not([hidden]) h3").all_inner_texts()
    assert sections == named
    assert page.locator(".filter output").inner_text() == f"{len(named)} of {len(CASES)} cases"


def test_the_squares_lead_to_their_cases(page):
    page.locator("li[data-case='sdpa/causal'] a").focus()
    page.keyboard.press("Enter")
    section = page.locator("section.case:target")
    assert section.locator("h3").inner_text() == "sdpa/causal"
    assert section.bounding_box()["y"] < 900


def test_the_read_out_tells_the_element(page, run):
    heat = page.locator(".heat").first
    case = heat.evaluate("one => one.closest('section').dataset.case")
    comparison = next(result for result in run[1]["results"] if result["case"] == case)["comparison"]
    worst, (*leading, rows, columns) = comparison["worst"], comparison["want_shape"]
    *place, row, column = worst["index"]
    panel = 0
    for index, size in zip(place, leading, strict=True):
        panel = panel * size + index
    image = heat.locator(".panel").nth(panel).locator("img").nth(1)
    image.scroll_into_view_if_needed()
    box = image.bounding_box()
    page.mouse.move(
        box["x"] + (column + 0.5) * box["width"] / columns, box["y"] + (row + 0.5) * box["height"] / rows
    )
    told = heat.locator("output").inner_text()
    assert f"row {row}, column {column}: " in told
    got, want, z = (float(number) for number in re.search(r"got (\S+), want (\S+), z (\S+)$", told).groups())
    assert got == pytest.approx(worst["got"], rel=1e-6)
    assert want == pytest.approx(worst["want"], rel=1e-6)
    assert z == pytest.approx(worst["z"], rel=1e-2)

    heat.focus()
    page.keyboard.press("ArrowLeft" if column else "ArrowRight")
    moved = heat.locator("output").inner_text()
    assert f"row {row}, column {column - 1 if column else 1}: " in moved


def test_it_reads_without_scripts(run, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(run[0].as_uri())
    assert page.locator("h1").inner_text().startswith("Failed")
    assert page.locator(".filter").is_hidden()
    assert page.locator("section.case").count() == sum(r["verdict"] == "fail" for r in run[1]["results"])
    assert page.locator(".heat img").first.is_visible()
    context.close()


PLANTED = ROOT / "harness/internal/edits/testdata"


@pytest.mark.parametrize("window", WINDOWS, ids=NAMES)
def test_a_model_has_a_chart_of_its_mistakes(difftest, browser, tmp_path, window):
    """Each known mistake of a model is a dot, and the planted one is the nearest."""
    identity = json.loads((PLANTED / "llama.json").read_text())[5]
    output, file = tmp_path / "output.npy", tmp_path / "page.html"
    np.save(output, np.load(PLANTED / "llama.npy")[5])
    difftest.printed("check", "llama", output, "--fixtures", PLANTED / "models", "--report", f"html={file}")
    with opened(browser, file, window) as page:
        dots = page.locator(".chart circle")
        assert dots.count() > 100
        assert page.locator(".chart circle.best title").first.text_content().startswith(f"{identity} leaves ")
        assert page.locator("tbody tr td").first.inner_text() == identity
        assert too_wide(page) == 0
        assert violations(page) == []
