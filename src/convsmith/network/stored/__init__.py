"""Exported programs in files: judged as data before torch loads them."""
