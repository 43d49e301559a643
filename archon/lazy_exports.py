"""Lazy imports: a package imports each public name from its module on first use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_exports(namespace: dict[str, Any], modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a ``__getattr__`` function for a package (PEP 562).

    The function imports a name on first use and stores it in the package.

    Parameters
    ----------
    namespace
        The ``globals()`` of the package.
    modules
        Public name → name of the module that defines it.
    """

    def import_name(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {namespace['__name__']!r} has no attribute {name!r}")
        value = namespace[name] = getattr(import_module(modules[name]), name)
        return value

    return import_name
