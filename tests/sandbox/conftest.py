from __future__ import annotations

import pytest

from archon.sandbox import Sandbox


@pytest.fixture(scope="session")
def sandbox() -> Sandbox:
    """One for all tests, each of which has an event loop of its own."""
    return Sandbox(max_programs=2)
