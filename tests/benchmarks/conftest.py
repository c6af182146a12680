from tests.rewrite.fakes import counted

__all__ = ["counted"]
