"""A real daemon in this process, as the daemon's own tests have it."""

from pathlib import Path

import pytest

from tests.daemon.conftest import Open, opener


@pytest.fixture
def mirror(tmp_path: Path) -> Open:
    """Opens a mirror of a fresh scripted upstream; sections of the configuration by keyword."""
    return opener(tmp_path / "data")
