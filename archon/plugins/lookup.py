"""Find registered objects by name, and load plug-ins where a name is unknown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from archon.plugins import discovery, registry
from archon.plugins.registry import Kind, Registration


def find(kind: Kind, name: str) -> Registration | None:
    """Return what is registered under a name; installed plug-ins are loaded if necessary.

    Ask only for names that Archon does not ship, because the search for installed plug-ins takes
    time.
    """
    found = registry.get(kind, name)
    if found is None and name:
        discovery.load_all()
        found = registry.get(kind, name)
    return found


def all_of(kind: Kind) -> list[Registration]:
    """Return everything of a kind, after loading all plug-ins."""
    discovery.load_all()
    return [each for each in registry.everything() if each.kind == kind]


@contextmanager
def isolated() -> Iterator[None]:
    """Undo everything that is registered and loaded in the block when it ends."""
    registrations, state = registry.snapshot(), discovery.state
    kept = discovery._State(
        dict(state.plugins), list(state.requested), state.has_loaded_entry_points
    )
    try:
        yield
    finally:
        registry.restore(registrations)
        state.plugins, state.requested = kept.plugins, kept.requested
        state.has_loaded_entry_points = kept.has_loaded_entry_points
