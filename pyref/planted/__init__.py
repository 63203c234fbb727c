"""Known mistakes planted in plain PyTorch, to be held against Go's, which share nothing with them."""
