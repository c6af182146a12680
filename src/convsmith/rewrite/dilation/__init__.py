"""Stride to dilation: the same network at a finer resolution, certified."""
