"""The commands of pyref: generate and check the suite, write the tests' data, capture, and serve.

`pyref/regenerate` runs the first two. Each command imports its own modules, because capture and
serve run in the user's environment without the pinned PyTorch.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path


def main() -> int:
    """Run one command. Return 1 on an error or if a check found a difference, otherwise 0."""
    arguments = parse()
    try:
        return arguments.run(arguments)
    except (OSError, ValueError) as error:
        print(f"pyref: {error}", file=sys.stderr)
        return 1


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
    command = commands.add_parser("capture", help=capture.__doc__)
    command.set_defaults(run=capture)
    command.add_argument(
        "target",
        metavar="TARGET",
        help="FILE.py:FACTORY or package.module:FACTORY, a function without arguments that returns a module "
        "and its inputs; transformers:CLASS, of which a tiny model is made; or a local folder of a model",
    )
    command.add_argument("--name", required=True, metavar="GROUP/NAME", help="the case's name")
    command.add_argument(
        "--into",
        default=Path("cases"),
        type=Path,
        metavar="DIR",
        help="the suite to add it to, cases if not given",
    )
    command.add_argument(
        "--output",
        default="",
        metavar="PART",
        help="the part of the result that is the output, such as logits or 1; by default the first floats; "
        "with a pattern such as '*', a case NAME/PART for each part that matches",
    )
    command.add_argument(
        "--shake",
        type=int,
        metavar="SEED",
        help="draw all parameters anew, so that the case sees a mistake in each of them",
    )
    command.add_argument(
        "--config",
        metavar="JSON",
        help="with transformers:CLASS, fields of the configuration in place of the tiny ones",
    )
    command.add_argument(
        "--submodules",
        metavar="PATTERN",
        help="run the module once, and capture each submodule with a matching name, such as 'layers.*'",
    )
    command = commands.add_parser("serve", help=serve.__doc__)
    command.set_defaults(run=serve)
    command.add_argument(
        "target",
        metavar="FILE.py:FACTORY",
        help="a function in a file or package.module that returns the module for a case's configuration",
    )
    command.add_argument(
        "folder", nargs="?", metavar="DIR", help="the folder of one case, added by difftest --once"
    )
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


def capture(arguments: argparse.Namespace) -> int:
    """Write a case of a module, or of each matching submodule."""
    from pyref.capture import blind, call, outputs, submodules, target
    from pyref.capture import capture as write
    from pyref.capture.module_of import module_of
    from pyref.capture.shake import shaken

    made = target.load(arguments.target, json_object(arguments.config))
    module, seed = module_of(made.module), arguments.shake
    if seed is None and made.random:
        seed = 0
    where = (arguments.name, arguments.into)
    refused = {}
    if arguments.submodules is None and outputs.several(arguments.output):
        captured = outputs.capture_outputs(module, made.inputs, arguments.output, *where, tell, seed)
        folders, refused = captured.folders, captured.refused
    elif arguments.submodules is None:
        folders = [write(module, made.inputs, *where, arguments.output, tell, seed)]
    else:
        captured = submodules.capture_submodules(
            module, made.inputs, arguments.submodules, *where, tell, seed
        )
        folders, refused = captured.folders, captured.refused
    print(*folders, sep="\n")
    for name, reason in refused.items():
        tell(f"{name}: not captured: {reason}")
    for spot in blind.spots(shaken(module, seed), call.Call.of(module, made.inputs)):
        tell(f"this case cannot see everything: {spot}")
    return 1 if refused else 0


def tell(note: str) -> None:
    """Print a note to stderr."""
    print(f"pyref: {note}", file=sys.stderr)


def json_object(text: str | None) -> dict | None:
    """Return the fields of a JSON object, None if there is no text."""
    if text is None:
        return None
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"--config: {error}") from None
    if not isinstance(value, dict):
        raise ValueError("--config: want an object of JSON")
    return value


def serve(arguments: argparse.Namespace) -> int:
    """Serve a module to difftest, which loads the parameters of every case into it."""
    from pyref.serve import serve

    serve(arguments.target)
    return 0


sys.exit(main())
