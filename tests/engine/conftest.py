"""Fixture: the kernels compiled for each instruction set of this machine."""

from __future__ import annotations

import pytest
from engine_doubles import INSTRUCTIONS, use_instructions


@pytest.fixture(params=INSTRUCTIONS)
def instructions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the kernels of one instruction set."""
    use_instructions(request.param, monkeypatch)
