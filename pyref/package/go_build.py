"""Build the command difftest with Go for any platform, and write checksums."""

import hashlib
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "github.com/difftest/difftest"
TARGETS = [f"{system}-{chip}" for system in ("linux", "darwin", "windows") for chip in ("amd64", "arm64")]

# The license, and the licenses of the modules in the command.
LICENSES = ["LICENSE", "THIRD_PARTY_LICENSES.md"]

# Go's variables that say where things are. The others could change the binary.
KEPT = {"GOCACHE", "GOMODCACHE", "GONOSUMDB", "GOPATH", "GOPROXY", "GOROOT", "GOSUMDB", "GOTOOLCHAIN"}


def environment(target: str) -> dict[str, str]:
    """Return the variables for a static build of a platform, such as linux-arm64."""
    system, processor = target.split("-")
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GO") or name in KEPT}
    return plain | {"CGO_ENABLED": "0", "GOOS": system, "GOARCH": processor}


def build(command: Path, target: str, release: str) -> None:
    """Build the command for a platform, with no trace of this machine in its bytes."""
    subprocess.run(
        [
            *("go", "build", "-trimpath", "-buildvcs=false", "-o", command),
            *("-ldflags", f"-s -w -buildid= -X {PACKAGE}/harness/command.release={release}"),
            "./cmd/difftest",
        ],
        cwd=ROOT,
        env=environment(target),
        check=True,
    )


def write_sums(folder: Path, files: Iterable[Path]) -> None:
    """Write the checksums of files in a folder, as sha256sum does."""
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in sorted(files)]
    (folder / "SHA256SUMS").write_text("".join(lines), newline="\n")
