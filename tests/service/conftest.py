"""A real daemon in this process, as in tests/daemon."""

from tests.daemon.conftest import mirror

__all__ = ["mirror"]
