"""The only import of torch in the fixture builder: the pinned build, made deterministic.

`from pyref.build.pinned_torch import torch` fails wherever `environment.require` fails. So no
tensor of the suite can come from another build.
"""

from pyref.build import environment

environment.require()  # before the import: torch reads the variables once, when it is loaded

import torch  # noqa: E402

torch.set_num_threads(1)  # a sum split over threads depends on their number
torch.backends.mkldnn.enabled = False  # oneDNN chooses kernels by CPU and ignores both variables
# SDPA's fused kernel passes the keys that do not fill a vector to the C library's exp, whose
# float64 bits depend on FMA support. The math kernel does not. In spite of its name the switch also
# governs the CPU kernel.
torch.backends.cuda.enable_flash_sdp(False)

__all__ = ["torch"]
