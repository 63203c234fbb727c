"""Tells whether a port computes what PyTorch computes and, if it does not, which mistake it makes.

    result = difftest.check("seed/causal", output)      # judge one output
    difftest.assert_matches("seed/causal", output)      # the same in a test
    difftest.fuzz(sdpa=function)                        # a test of many shapes
    difftest.cases("mha/**")                            # the cases, for pytest.mark.parametrize
    difftest.capture(module, inputs, "mine/gate")       # a case from your own module; needs PyTorch
    difftest.serve(sdpa=function)                       # a program that `difftest -- CMD` runs

Judging needs NumPy and nothing else. The plugin for pytest names the causes of all failures at the
end of the session.
"""

from difftest._arrays import save_output
from difftest._binary import DifftestError, binary
from difftest._cases import Case, case, cases
from difftest._fuzz import fuzz
from difftest._judge import assert_matches, check
from difftest._result import Cause, Result
from difftest._serve import serve
from difftest._torch import CaptureWarning, capture, capture_outputs, capture_submodules, record

__all__ = [
    "CaptureWarning",
    "Case",
    "Cause",
    "DifftestError",
    "Result",
    "assert_matches",
    "binary",
    "capture",
    "capture_outputs",
    "capture_submodules",
    "case",
    "cases",
    "check",
    "fuzz",
    "record",
    "save_output",
    "serve",
]
