#!/usr/bin/env python3
"""Build what a release holds: the command for each platform, its licenses, an SBOM, and checksums.

    pyref/package/build_release.py v1.2.0 DIR                         for all platforms
    pyref/package/build_release.py v1.2.0 DIR --target linux-arm64   for one

It needs Go. Two builds of the same commit with the same Go give the same bytes, in any folder.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGETS = [f"{system}-{chip}" for system in ("linux", "darwin", "windows") for chip in ("amd64", "arm64")]
PACKAGE = "github.com/difftest/difftest"

# Go's variables that say where things are. The others could change the binary.
KEPT = {"GOCACHE", "GOMODCACHE", "GONOSUMDB", "GOPATH", "GOPROXY", "GOROOT", "GOSUMDB", "GOTOOLCHAIN"}


def main() -> None:
    """Build what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("version", type=version)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--target", choices=TARGETS, help="build for one platform")
    arguments = parser.parse_args()
    folder: Path = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    targets = [arguments.target] if arguments.target else TARGETS
    for target in targets:
        build(target, arguments.version, folder)
    for name in ("LICENSE", "THIRD_PARTY_LICENSES.md"):
        shutil.copy(ROOT / name, folder)
    text = json.dumps(bill_of_materials(arguments.version, targets), indent=2) + "\n"
    (folder / f"difftest-{arguments.version}.spdx.json").write_text(text, encoding="utf-8")
    write_sums(folder)


def version(text: str) -> str:
    """Return a version of Go modules, such as v1.2.0."""
    if not re.fullmatch(r"v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r}, want a version such as v1.2.0")
    return text


def environment(target: str) -> dict[str, str]:
    """Return the variables for a static build of a platform."""
    system, processor = target.split("-")
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GO") or name in KEPT}
    return plain | {"CGO_ENABLED": "0", "GOOS": system, "GOARCH": processor}


def build(target: str, release: str, folder: Path) -> None:
    """Build the command for a platform, with no trace of this machine in its bytes."""
    name = f"difftest-{release}-{target}" + (".exe" if target.startswith("windows") else "")
    flags = f"-s -w -buildid= -X {PACKAGE}/harness/command.release={release}"
    command = [
        "go",
        "build",
        "-trimpath",
        "-buildvcs=false",
        "-ldflags",
        flags,
        "-o",
        folder / name,
        "./cmd/difftest",
    ]
    subprocess.run(command, cwd=ROOT, env=environment(target), check=True)
    print(name)


def bill_of_materials(release: str, targets: list[str]) -> dict[str, object]:
    """Return an SPDX document of the modules in the binaries of some platforms."""
    modules = sorted({module for target in targets for module in modules_of(target)})
    name = f"difftest-{release}"
    packages = [package("SPDXRef-difftest", PACKAGE, release)]
    packages += [package(f"SPDXRef-module-{n}", *module) for n, module in enumerate(modules, 1)]
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": f"https://{PACKAGE}/releases/download/{release}/{name}.spdx.json",
        "creationInfo": {"created": committed(), "creators": [f"Tool: difftest-release-{release}"]},
        "packages": packages,
        "relationships": [
            relationship("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-difftest"),
            *(relationship("SPDXRef-difftest", "CONTAINS", str(one["SPDXID"])) for one in packages[1:]),
        ],
    }


def modules_of(target: str) -> set[tuple[str, str]]:
    """Return the paths and versions of the modules in a binary, and of Go's own library."""
    form = "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{end}}{{end}}"
    done = subprocess.run(
        ["go", "list", "-deps", "-f", form, "./cmd/difftest"],
        cwd=ROOT,
        env=environment(target),
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    go = subprocess.run(
        ["go", "env", "GOVERSION"], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    )
    lines = [*done.stdout.split("\n"), f"stdlib {go.stdout.strip()}"]
    return {(path, number) for path, _, number in (line.partition(" ") for line in lines) if path}


def package(identity: str, path: str, number: str) -> dict[str, object]:
    """Return the entry of a module."""
    locator = f"pkg:golang/{path}@{number.removeprefix('go') if path == 'stdlib' else number}"
    return {
        "SPDXID": identity,
        "name": path,
        "versionInfo": number,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": locator,
            }
        ],
    }


def relationship(one: str, kind: str, other: str) -> dict[str, str]:
    """Return a relationship of two elements."""
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}


def committed() -> str:
    """Return the time of the commit, which is the same in every build of it."""
    done = subprocess.run(
        ["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    )
    return datetime.fromtimestamp(int(done.stdout), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def write_sums(folder: Path) -> None:
    """Write the checksums of all files, as sha256sum does."""
    files = sorted(file for file in folder.iterdir() if file.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (folder / "SHA256SUMS").write_text("".join(lines), newline="\n")


if __name__ == "__main__":
    main()
