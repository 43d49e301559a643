"""The kernels as they are compiled for what this machine can do, and for less."""

from __future__ import annotations

import pytest
from engine_doubles import INSTRUCTIONS, use_instructions


@pytest.fixture(params=INSTRUCTIONS)
def instructions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels are those for one set of instructions."""
    use_instructions(request.param, monkeypatch)
