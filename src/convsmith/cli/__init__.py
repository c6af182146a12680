"""The command line: one file a verb; `main` finds the verb, runs it and turns errors into lines."""

from convsmith.cli.main import main

__all__ = ["main"]


def __dir__() -> list[str]:
    return list(__all__)
