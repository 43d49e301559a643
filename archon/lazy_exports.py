"""Names of a package that are imported from their modules at first use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_exports(namespace: dict[str, Any], homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's ``__getattr__`` (PEP 562).

    A name is imported once and then stored in the package, so that later uses cost nothing.

    Parameters
    ----------
    namespace
        The ``globals()`` of the package.
    homes
        Name → the module that defines it.
    """

    def import_name(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {namespace['__name__']!r} has no attribute {name!r}")
        value = namespace[name] = getattr(import_module(homes[name]), name)
        return value

    return import_name
