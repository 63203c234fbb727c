"""Take the picture of the page for the README: `pyref/regenerate --run -m pyref.tests.picture`.

It needs Go, Chromium, and the packages of requirements-browser.txt, which `.ci/run fixtures` installs.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright import sync_api

from pyref.tests.support import ROOT

PICTURE = ROOT / "harness/page.png"
PROGRAM = [sys.executable, Path(__file__).with_name("wrong_number.py"), "scale", "1.5"]
CASES = ["--case", "mha/**", "--case", "sdpa/**", "--case", "seed/**"]
SIZE = {"width": 1180, "height": 1500}


def main() -> None:
    """Run a wrong implementation, and photograph what its page shows first."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        command = [
            "go",
            "run",
            "./cmd/difftest",
            "--quiet",
            *CASES,
            "--report",
            f"html={page}",
            "--",
            *PROGRAM,
        ]
        subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.DEVNULL)
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
