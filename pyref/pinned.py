"""The one import of torch: `from pyref.pinned import torch` gives the pinned build, made deterministic.

Importing this module fails where `environment.require` does, so no tensor can come from anything else.
"""

from pyref import environment

environment.require()  # before the import: torch reads the variables once, when it is loaded

import torch  # noqa: E402

torch.set_num_threads(1)  # a sum split over threads depends on how many there are
torch.backends.mkldnn.enabled = False  # oneDNN picks its kernels by CPU and heeds neither variable
# SDPA's fused kernel gives the keys that do not fill a vector to the C library's exp, whose float64 bits
# depend on whether the CPU has FMA. The math kernel does not. The switch is cuda's by name, the CPU's too.
torch.backends.cuda.enable_flash_sdp(False)

__all__ = ["torch"]
