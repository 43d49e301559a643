"""Digests of the plug-ins that a run uses, so that it is not resumed with other code."""

from __future__ import annotations

from collections.abc import Iterable

from archon.plugins import registry
from archon.plugins.registry import Kind


def plugin_digests(names: Iterable[tuple[Kind, str]]) -> dict[str, dict[str, str]]:
    """Return ``{"plugins": {"KIND NAME": digest}}`` for those names that plug-ins registered.

    Without any, the result is empty, so that runs without plug-ins are described as before.
    """
    found = {
        f"{kind} {name}": registration.digest()
        for kind, name in names
        if (registration := registry.get(kind, name)) is not None
    }
    return {"plugins": dict(sorted(found.items()))} if found else {}


def missing(described: object) -> list[str]:
    """Return the names in a stored description that no loaded plug-in has registered."""
    names = described if isinstance(described, dict) else {}
    found = []
    for each in names:
        kind, _, name = str(each).partition(" ")
        if kind in registry.KINDS and registry.get(kind, name) is None:  # type: ignore[arg-type]
            found.append(f"{registry.KINDS[kind]} {name!r}")  # type: ignore[index]
    return found
