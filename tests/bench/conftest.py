"""Fixtures of the comparison with peers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from archon.bench.peers.contender import CONTENDERS, ContenderKind

DOUBLES = ("Fake", "Slow", "Dying", "Crashing", "Refusing")


@pytest.fixture
def doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the contenders of ``peers_doubles`` by lower-case names, also in children."""
    paths = (str(Path(__file__).parent), os.environ.get("PYTHONPATH", ""))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    for name in DOUBLES:
        monkeypatch.setitem(CONTENDERS, name.lower(), ContenderKind(f"peers_doubles:{name}"))
