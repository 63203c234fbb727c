"""The layer that difftest tested first. Its adapter had two bugs at once, each now behind a switch.

difftest --case seed -- python pyref/examples/seed_layer.py [--load-overwritten] [--mask-missing]
"""

import argparse
import math
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from subject import serve


class MHSA(torch.nn.Module):
    """Multi-head self-attention, x (B, T, D) -> (B, T, D), causal if `flag_mask`."""

    def __init__(self, D: int, H: int) -> None:
        super().__init__()
        self.H, self.flag_mask = H, False
        self.W_Q, self.W_K, self.W_V, self.W_O = (torch.nn.Parameter(torch.randn(D, D)) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend head by head, and put the contexts side by side."""
        projected = (x @ W.T for W in (self.W_Q, self.W_K, self.W_V))
        heads = zip(*(columns.chunk(self.H, dim=-1) for columns in projected), strict=True)
        return torch.cat([self.head(*head) for head in heads], dim=-1) @ self.W_O.T

    def head(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Attend in one head; q, k, v and the context are (B, T, E)."""
        scores = q @ k.mT / math.sqrt(q.shape[-1])
        if self.flag_mask:
            later = torch.ones_like(scores, dtype=torch.bool).triu(diagonal=1)
            scores = scores.masked_fill(later, -math.inf)
        return scores.softmax(dim=-1) @ v


def main() -> None:
    """Serve the layer, with the bugs of the given switches."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--load-overwritten", action="store_true", help="assign to load_state_dict")
    parser.add_argument("--mask-missing", action="store_true", help="leave flag_mask False")
    switches = parser.parse_args()

    @torch.no_grad()
    def mha(query, key, value, *, config, state_dict, **more):
        if config["keys"] != "seed":
            raise NotImplementedError("this layer is not the seed layer")
        torch.manual_seed(0)  # parameters that are never loaded are the same in every run
        layer = MHSA(config["embed_dim"], config["num_heads"])
        parameters = {
            name.removeprefix(config["prefix"]): torch.from_numpy(array) for name, array in state_dict.items()
        }
        if switches.load_overwritten:
            layer.load_state_dict = parameters
        else:
            layer.load_state_dict(parameters)
        if not switches.mask_missing:
            layer.flag_mask = config["causality"] != "none"
        return layer(torch.from_numpy(query)).numpy()

    serve(mha=mha, name="MHSA")


if __name__ == "__main__":
    main()
