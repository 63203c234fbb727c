"""The commands of pyref: generate and check the suite, write the tests' data, capture, and serve.

`pyref/regenerate` runs the first two. Each command imports its own modules, because capture and
serve, in commands.py, run in the user's environment without the pinned PyTorch.
"""

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from pyref import commands as user_commands


def main() -> int:
    """Run one command. Return 1 on an error or if a check found a difference, otherwise 0."""
    return user_commands.carry_out(parse())


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m pyref")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run in (("generate", generate), ("check", check)):
        command = commands.add_parser(name, help=run.__doc__)
        command.set_defaults(run=run)
        command.add_argument("suite", type=Path)
    command = commands.add_parser("plant", help=plant.__doc__)
    command.set_defaults(run=plant)
    command.add_argument("folder", type=Path, metavar="DIR", help="the folder for the outputs")
    command.add_argument(
        "--fresh",
        type=int,
        metavar="SEED",
        help="plant on new random cases in float32, and write the cases there, too",
    )
    command = commands.add_parser("checkpoints", help=checkpoints.__doc__)
    command.set_defaults(run=checkpoints)
    command.add_argument("folder", type=Path, metavar="DIR", help="the folder for the files")
    command = commands.add_parser("operators", help=operators.__doc__)
    command.set_defaults(run=operators)
    command.add_argument("folder", type=Path, metavar="DIR", help="the folder for operators.json")
    command = commands.add_parser("models", help=models.__doc__)
    command.set_defaults(run=models)
    command.add_argument("folder", type=Path, metavar="DIR", help="the folder for the cases and outputs")
    command = commands.add_parser("attention", help=attention.__doc__)
    command.set_defaults(run=attention)
    command.add_argument("folder", type=Path, metavar="DIR", help="the folder for the cases and outputs")
    command = commands.add_parser("verify", help=verify.__doc__)
    command.set_defaults(run=verify)
    command.add_argument("suite", type=Path, metavar="DIR", help="the folder of the cases")
    user_commands.add(commands)
    return parser.parse_args()


def generate(arguments: argparse.Namespace) -> int:
    """Regenerate the suite in place."""
    from pyref import zoo
    from pyref.build import suite
    from pyref.table import CASES

    suite.generate(CASES, arguments.suite, zoo.write)
    print(f"{arguments.suite}: {len(CASES) + len(zoo.CASES)} cases")
    return 0


def check(arguments: argparse.Namespace) -> int:
    """Regenerate into a scratch folder, list every file with other bytes, and count all files."""
    from pyref import zoo
    from pyref.build import changed_files, suite
    from pyref.table import CASES

    with tempfile.TemporaryDirectory() as folder:
        suite.build(CASES, Path(folder))
        zoo.write(Path(folder))
        groups = suite.groups(CASES) | zoo.GROUPS
        outcomes = changed_files.compare(arguments.suite, Path(folder), groups)
    for file, outcome in outcomes.items():
        if outcome != "identical":
            print(f"{outcome:<7}  {file}")
    kinds = Counter(outcomes.values())
    print(f"{arguments.suite}: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())))
    if kinds["differs"]:
        print(f"to see how far: pyref/regenerate --into DIR, then difftest review {arguments.suite} DIR")
    return 0 if set(kinds) == {"identical"} else 1


def plant(arguments: argparse.Namespace) -> int:
    """Write the outputs of cases with each known mistake, and list mistakes that no case shows.

    Variants may need larger cases.
    """
    from pyref.planted import VARIANTS, fresh_cases, stored_outputs

    if arguments.fresh is None:
        shown = stored_outputs.write(arguments.folder)
    else:
        shown = fresh_cases.write(arguments.fresh, arguments.folder)
    missing = [name for name, count in shown.items() if count == 0 and name not in VARIANTS]
    for name in missing:
        print(f"{name}: no case shows it")
    print(f"{arguments.folder}: {len(+shown)} mistakes")
    return 1 if missing else 0


def checkpoints(arguments: argparse.Namespace) -> int:
    """Write small files by torch.save, safetensors and NumPy, for the tests of their readers."""
    from pyref.build import checkpoints

    arguments.folder.mkdir(parents=True, exist_ok=True)
    checkpoints.write(arguments.folder)
    return 0


def operators(arguments: argparse.Namespace) -> int:
    """Write small computations of every operator of a graph, for the tests of other languages."""
    from pyref.capture.graph import samples

    print(f"{arguments.folder}: {samples.write(arguments.folder)} samples")
    return 0


def models(arguments: argparse.Namespace) -> int:
    """Write cases of small models, and their outputs with known mistakes and with wrong numbers."""
    from pyref.models import numbers, pairs, parameters, store

    for name, count in store.write(arguments.folder).items():
        print(f"{name}: {count} mistakes")
    for name, count in numbers.write(arguments.folder).items():
        print(f"{name}: {count} wrong numbers")
    for name, count in parameters.write(arguments.folder).items():
        print(f"{name}: {count} wrong parameters")
    for name, count in pairs.write(arguments.folder).items():
        print(f"{name}: {count} pairs of mistakes")
    return 0


def attention(arguments: argparse.Namespace) -> int:
    """Write cases of attention modules, and their outputs with known mistakes."""
    from pyref.models import attention_store

    for name, count in attention_store.write(arguments.folder).items():
        print(f"{name}: {count} mistakes")
    return 0


def verify(arguments: argparse.Namespace) -> int:
    """Fill in PyTorch's results of the cases that difftest new made, where the truths agree."""
    from pyref.build import verify

    failed = 0
    folders = list(verify.cases(arguments.suite))
    for folder in folders:
        try:
            verify.verify(folder)
        except ValueError as error:
            failed += 1
            print(f"{folder}: {error}")
    print(f"{arguments.suite}: {len(folders) - failed} cases verified, {failed} not")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
