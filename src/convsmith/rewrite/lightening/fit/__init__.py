"""Fit a lighter form to the responses of the layer it replaces; no labels, no gradients."""
