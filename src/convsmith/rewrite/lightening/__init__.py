"""Lighter forms for convolutions, chosen by the clock, fitted to what the network learned."""
