"""Each test has its own plug-ins."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from archon.plugins import discovery, registry
from archon.testing import isolated_plugins


@pytest.fixture(autouse=True)
def plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(discovery.VARIABLE, raising=False)
    with isolated_plugins():
        registry.restore({})
        discovery.state.plugins, discovery.state.requested = {}, []
        discovery.state.has_loaded_entry_points = False
        yield
