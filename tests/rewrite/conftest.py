from tests.rewrite.fakes import counted, hasty

__all__ = ["counted", "hasty"]
