"""Loads mutants of a compiled network in a process of its own: `python flipping.py FILE …`.

Prints how many were refused and how many gave the right answer; anything else ends it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

import convsmith as cs

if __name__ == "__main__":
    file, values, scratch, first, step = sys.argv[1:]
    image, expected = torch.load(values, weights_only=True)
    content, path = bytearray(Path(file).read_bytes()), Path(scratch)
    refused = right = 0
    for place in range(int(first), len(content), int(step)):
        before = content[place]
        content[place] = before ^ (1 << place % 8)
        path.write_bytes(content)
        content[place] = before
        try:
            network = cs.load(path, trust=True)
            assert torch.equal(network(image), expected), place
            right += 1
        except cs.ConvsmithError as error:
            message = str(error)
            assert "\n" not in message and str(path) in message, (place, message)
            refused += 1
    print(refused, right)
