"""The graph of a module: the nodes that it computes, for programs that have no PyTorch."""
