"""Fused kernels in Halide: each algorithm with its schedule under it, built once and kept.

The room knows buffers and numbers, no networks. Importing a kernel imports halide.
"""
