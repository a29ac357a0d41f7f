"""The fixtures of the engine's tests."""

from tests.engine.conftest import one_thread, tiny_dsn

__all__ = ["one_thread", "tiny_dsn"]
