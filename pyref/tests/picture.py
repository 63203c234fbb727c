"""Take the picture of the page for the README: `pyref/regenerate --run -m pyref.tests.picture`.

It needs Go, Chromium, and the packages of requirements-browser.txt. `.ci/run fixtures` installs
them.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright import sync_api

from pyref.tests.support import ROOT

PICTURE = ROOT / "harness/page.png"
EXAMPLE = ROOT / "pyref/examples/numpy_attention.py"
CAUSAL = 'config["causality"] != "none"'
CASES = ["--case", "mha/**", "--case", "sdpa/**", "--case", "seed/**"]
SIZE = {"width": 1100, "height": 1850}


def main() -> None:
    """Run a wrong implementation, and photograph what its page shows first."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        program = Path(folder) / "mine.py"
        text = EXAMPLE.read_text()
        assert text.count(CAUSAL) == 1
        program.write_text(text.replace(CAUSAL, "False"))
        command = ["go", "run", "./cmd/difftest", *CASES, "--report", f"html={page}"]
        command += ["--", sys.executable, program]
        variables = os.environ | {"PYTHONPATH": str(ROOT / "pyref")}
        subprocess.run(command, cwd=ROOT, env=variables, check=False, stdout=subprocess.DEVNULL)
        with sync_api.sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
            )
            opened = browser.new_page(viewport=SIZE, color_scheme="light")
            opened.goto(page.as_uri())
            opened.screenshot(path=PICTURE)
            browser.close()


if __name__ == "__main__":
    main()
