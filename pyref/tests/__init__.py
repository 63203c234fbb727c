"""Tests of pyref: the cases say what they claim, the bytes are the same everywhere, nothing is lost."""
