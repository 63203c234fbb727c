#!/usr/bin/env python3
"""Build what a release holds: the command for each platform, its licenses, an SBOM, and checksums.

    pyref/package/build_release.py v1.2.0 DIR                         for all platforms
    pyref/package/build_release.py v1.2.0 DIR --target linux-arm64   for one

It needs Go. Two builds of the same commit with the same Go give the same bytes, in any folder.
"""

import argparse
import json
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from go_build import LICENSES, PACKAGE, ROOT, TARGETS, build, environment, write_sums


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
        name = f"difftest-{arguments.version}-{target}" + (".exe" if target.startswith("windows") else "")
        build(folder / name, target, arguments.version)
        print(name)
    for name in LICENSES:
        shutil.copy(ROOT / name, folder)
    text = json.dumps(bill_of_materials(arguments.version, targets), indent=2) + "\n"
    (folder / f"difftest-{arguments.version}.spdx.json").write_text(text, encoding="utf-8")
    write_sums(folder, (file for file in folder.iterdir() if file.name != "SHA256SUMS"))


def version(text: str) -> str:
    """Return a version of Go modules, such as v1.2.0."""
    if not re.fullmatch(r"v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r}, want a version such as v1.2.0")
    return text


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


if __name__ == "__main__":
    main()
