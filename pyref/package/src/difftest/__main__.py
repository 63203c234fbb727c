"""`python -m difftest`: the command, and capture and serve, which need PyTorch.

python -m difftest capture mine.py:make --name mine/gate     a case from a module of PyTorch
difftest -- python -m difftest serve mine.py:make            test a module of PyTorch
python -m difftest ARG...                                    any other command of difftest
"""

import subprocess
import sys

from difftest import _torch
from difftest._binary import binary


def main() -> int:
    """Run a command, and return its exit status."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] not in ("capture", "serve"):
        return subprocess.run([binary(), *arguments], check=False).returncode
    if "-h" not in arguments and "--help" not in arguments:
        try:
            _torch.needs_torch(arguments[0])
        except ImportError as error:
            print(error, file=sys.stderr)
            return 1
    from difftest._pyref import commands

    return commands.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
