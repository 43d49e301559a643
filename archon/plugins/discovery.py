"""Load plug-ins: installed packages, and files or modules that the user names.

An installed package has an entry point in the group ``archon.plugins``. Its value is a module,
which registers when it is imported, or a function without parameters, which is called. Entry points
are loaded only when a name is unknown or everything is listed, so that other commands start fast.

The user names plug-ins with ``--plugin``, or in the environment variable ``ARCHON_PLUGINS``.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

from archon.errors import ArchonError, SpecError
from archon.plugins import registry
from archon.plugins.registry import Origin
from archon.plugins.user_code import module_of_file, module_of_name, user_errors

GROUP = "archon.plugins"
VARIABLE = "ARCHON_PLUGINS"
"""Environment variable with files and modules, separated like the folders of ``PATH``."""

_log = logging.getLogger("archon.plugins")


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plug-in that was loaded, or failed to load."""

    name: str
    origin: Origin
    source: str
    """``entry point``, ``--plugin`` or ``ARCHON_PLUGINS``."""
    error: str = ""
    """Why it is not usable; empty if it is."""


@dataclass
class _State:
    plugins: dict[str, Plugin] = field(default_factory=dict)
    """Key of a plug-in, such as its path → the plug-in."""
    requested: list[str] = field(default_factory=list)
    has_loaded_entry_points: bool = False


state = _State()


def requested() -> list[str]:
    """Return what the user named with ``--plugin`` and ``ARCHON_PLUGINS``, for stored commands."""
    return list(dict.fromkeys([*_of_environment(), *state.requested]))


def plugins() -> list[Plugin]:
    """Return the plug-ins that were loaded or failed to load."""
    return list(state.plugins.values())


def load(ref: str, source: str = "--plugin") -> None:
    """Load a plug-in that the user named: a file that ends in ``.py``, or a module.

    A plug-in that is loaded already is not loaded again.

    Raises
    ------
    SpecError
        The file or module does not exist, or its code fails.
    UsageError
        It registers a name that is already used.
    """
    is_file = ref.endswith(".py")
    path = Path(ref).expanduser().absolute()
    key = str(path.resolve()) if is_file else ref
    if source == "--plugin" and ref not in state.requested:
        state.requested.append(ref)
    if key in state.plugins and not state.plugins[key].error:
        return
    if not is_file and (os.sep in ref or "/" in ref):
        raise SpecError("a plug-in is a file that ends in .py, or a module's name", file=ref)
    if is_file and not path.is_file():
        raise SpecError(f"no such file; it is a plug-in named by {source}", file=ref)
    name = ref
    if is_file:
        name = path.parent.name if path.stem == "__init__" else path.stem
    origin = Origin(name, ref)
    with registry.loading(origin):
        if is_file:
            module_of_file(path)
        else:
            module_of_name(ref)
    state.plugins[key] = Plugin(name, origin, source)


def load_all() -> None:
    """Load the plug-ins of the environment variable and of installed packages, once.

    An installed plug-in that fails is reported with a warning and is skipped.

    Raises
    ------
    SpecError, UsageError
        A plug-in named in the environment variable cannot be loaded.
    """
    for ref in _of_environment():
        load(ref, VARIABLE)
    if state.has_loaded_entry_points:
        return
    state.has_loaded_entry_points = True  # a plug-in that looks up a name does not start again
    for entry_point in importlib.metadata.entry_points(group=GROUP):
        _load_entry_point(entry_point)


def _load_entry_point(entry_point: importlib.metadata.EntryPoint) -> None:
    distribution = entry_point.dist
    detail = "" if distribution is None else f"{distribution.name} {distribution.version}"
    origin = Origin(entry_point.name, detail)
    error = ""
    try:
        with registry.loading(origin), user_errors(entry_point.value):
            found = entry_point.load()
            if callable(found):
                found()
    except ArchonError as failure:
        error = str(failure)
        _log.warning("the plug-in %s cannot be used: %s", origin, error)
    state.plugins[f"{entry_point.name} {detail}"] = Plugin(
        entry_point.name, origin, "entry point", error
    )


def _of_environment() -> list[str]:
    return [ref for ref in os.environ.get(VARIABLE, "").split(os.pathsep) if ref.strip()]
