"""Compiled networks as files: programs, weights and machine code, checked before they run."""
