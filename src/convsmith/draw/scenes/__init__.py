"""The scenes of single layers, each built from values that the arithmetic computes."""
