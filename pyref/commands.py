"""The commands for users: capture and serve. `python -m pyref` and `python -m difftest` have them.

They run in the user's environment, with any PyTorch from 2.0 on.
"""

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

# The package that the user runs: pyref in a checkout, difftest where it is installed.
PROGRAM = __name__.partition(".")[0]


def main(arguments: Sequence[str]) -> int:
    """Run one command. Return 1 on an error, otherwise 0."""
    parser = argparse.ArgumentParser(prog=f"python -m {PROGRAM}")
    add(parser.add_subparsers(required=True, metavar="COMMAND"))
    return carry_out(parser.parse_args(arguments))


def carry_out(arguments: argparse.Namespace) -> int:
    """Run the command of parsed arguments. An error becomes a line on stderr, and the status 1."""
    if arguments.run is not serve:
        obey_signals()
    try:
        return arguments.run(arguments)
    except (OSError, ValueError) as error:
        tell(str(error))
        return 1


def obey_signals() -> None:
    """Make SIGINT, SIGTERM and SIGHUP clean up and end the command with 128 plus their number."""
    signals = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]

    def stop(number: int, _frame: object) -> None:
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    for each in signals:
        if signal.getsignal(each) is not signal.SIG_IGN:  # nohup ignores SIGHUP
            signal.signal(each, stop)


def add(commands: argparse._SubParsersAction) -> None:
    """Add both commands to a parser."""
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
        "--vary",
        choices=("batch,tokens",),
        metavar="batch,tokens",
        help="store the graph for other shapes, too, so that difftest fuzz can draw them",
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
    if arguments.vary and (arguments.submodules is not None or outputs.several(arguments.output)):
        raise ValueError("--vary: takes one case, without --submodules or a pattern of outputs")
    if arguments.submodules is None and outputs.several(arguments.output):
        captured = outputs.capture_outputs(module, made.inputs, arguments.output, *where, tell, seed)
        folders, refused = captured.folders, captured.refused
    elif arguments.submodules is None:
        varies = arguments.vary is not None
        folders = [write(module, made.inputs, *where, arguments.output, tell, seed, varies)]
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
    print(f"{PROGRAM}: {note}", file=sys.stderr)


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
