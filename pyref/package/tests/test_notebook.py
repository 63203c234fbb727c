"""The result in a notebook, in a real browser: it shows its pictures, and runs nothing else."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy_layer import layer
from test_check import MODELS

import difftest

sync_api = pytest.importorskip("playwright.sync_api")
EVIL = "<img src=x onerror=\"parent.document.title='reached'\">"
NOTEBOOK = "<!DOCTYPE html><title>notebook</title><h1>A notebook</h1>"


@pytest.fixture(scope="module")
def browser():
    """Return Debian's Chromium, without a window."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


def opened(browser, folder: Path, shown: str) -> tuple[object, list[str], list[str]]:
    """Return a page that shows a result as a notebook does, its messages and its requests."""
    (folder / "notebook.html").write_text(NOTEBOOK + shown, encoding="utf-8")
    page, messages, requests = browser.new_page(), [], []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto((folder / "notebook.html").as_uri())
    return page, messages, requests


def test_a_result_shows_the_section_of_its_case(browser, tmp_path):
    case = difftest.case("seed/causal")
    shown = difftest.check(case, layer(case, causal=False))._repr_html_()
    page, messages, requests = opened(browser, tmp_path, shown)
    frame = page.frame_locator("iframe")
    assert "causal-missing" in frame.locator("section.case").inner_text()
    assert frame.locator("section.case img").count() >= 3
    assert page.title() == "notebook"
    assert messages == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "about:"))] == []
    page.close()


def test_nothing_that_a_subject_wrote_runs(browser, tmp_path):
    output = np.load(MODELS / "llama.npy")[5]
    result = difftest.check("llama", output, suite=MODELS / "models", trace={EVIL: output})
    page, messages, _ = opened(browser, tmp_path, result._repr_html_())
    page.wait_for_timeout(200)
    assert page.title() == "notebook"
    assert "onerror" in page.frame_locator("iframe").locator("body").inner_text()
    assert messages == []
    page.close()


def test_the_frame_cannot_reach_the_notebook(browser, tmp_path):
    case = difftest.case("seed/causal")
    shown = difftest.check(case, layer(case))._repr_html_()
    script = "&lt;script&gt;parent.document.title=&#x27;reached&#x27;&lt;/script&gt;&lt;/body&gt;"
    page, messages, _ = opened(browser, tmp_path, shown.replace("&lt;/body&gt;", script))
    page.wait_for_timeout(200)
    assert page.title() == "notebook"
    assert any("Content Security Policy" in message for message in messages)
    page.close()
