from __future__ import annotations

import pytest

from archon.sandbox import Sandbox


@pytest.fixture(scope="session")
def sandbox() -> Sandbox:
    """A sandbox for all tests, each of which has its own event loop."""
    return Sandbox(max_programs=2)
