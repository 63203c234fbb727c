"""Tests of pyref: the cases are right, their bytes are reproducible, and no run loses a file."""
