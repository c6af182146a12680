"""The forms a convolution may take, one file each: a new file in this folder is a new form.

A file holds a subclass of `convsmith.nn.factored.Factored` that names its form, says which
convolutions have it and at which ranks, what each rank loses, and how its weights follow from
trained ones. Nothing else has to be told about it: `lighten`, recipes and the command line ask the
register that `Factored` keeps.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

__all__: list[str] = []

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
