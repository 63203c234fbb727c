"""Small models in plain PyTorch, and known mistakes in them, for the tests of difftest."""
