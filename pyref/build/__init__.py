"""How the suite is built: pinned PyTorch, random numbers, case folders, atomic replacement."""
