"""Changes to the values of an architecture file, as ``--set`` and ``--temperature`` make them.

A key is a path in the file, with dots: ``nodes.draft.samples``, ``budget.max_tokens``,
``best.inputs.0``. The word ``nodes`` may be left out. The changed data is validated like a file.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from archon.errors import SpecError, UsageError
from archon.spec.architecture import ArchitectureSpec
from archon.spec.messages import shown, suggestion
from archon.spec.strict_json import decode_json

_OBJECTS = frozenset({"nodes", "models", "budget", "serve"})
"""Keys of the file with an object, which a node of the same name does not hide."""


@dataclass(frozen=True)
class Setting:
    """A new value for one key of an architecture file."""

    key: str
    value: Any

    def __str__(self) -> str:
        return f"--set {self.key}"


@dataclass(frozen=True)
class Changes:
    """Settings, and a temperature for the nodes to which a request's sampling applies."""

    settings: tuple[Setting, ...] = ()
    temperature: float | None = None


def parse_setting(text: str) -> Setting:
    """Read ``KEY=VALUE``; a value that is not JSON is a string.

    >>> parse_setting("first.samples=16"), parse_setting("models.solver=scripted")
    (Setting(key='first.samples', value=16), Setting(key='models.solver', value='scripted'))

    Raises
    ------
    UsageError
        The key or the equals sign is missing, or the value is an object or list with a fault.
    """
    key, separator, value = text.partition("=")
    if not (separator and all(key.split("."))):
        raise UsageError(
            f"--set needs KEY=VALUE, such as `draft.samples=16` or budget.max_tokens=4000, "
            f"not {shown(text)}"
        )
    try:
        return Setting(key, decode_json(value.encode()))
    except (SpecError, UnicodeEncodeError) as error:
        if value.lstrip()[:1] in ("{", "[", '"'):
            raise UsageError(f"--set {key}: the value is not valid JSON: {error}") from None
        return Setting(key, value)


def path_of(key: str, nodes: Collection[str]) -> tuple[str, ...] | None:
    """Return the path in the file that a key means; None if neither a node nor a key has its name.

    >>> path_of("first.samples", ["first"]), path_of("answer", ["answer"])
    (('nodes', 'first', 'samples'), ('answer',))
    """
    first, _, rest = key.partition(".")
    if first == "nodes":
        path = _node_path(rest, nodes)
        return ("nodes", *rest.split(".")) if path is None else path
    if first in _OBJECTS or (not rest and first in ArchitectureSpec.model_fields):
        return tuple(key.split("."))
    return _node_path(key, nodes)


def is_missing_node(path: Sequence[str], nodes: Collection[str]) -> bool:
    """Return True for a path below a node that does not exist; a whole node may be added."""
    return path[0] == "nodes" and len(path) > 2 and path[1] not in nodes


def _node_path(key: str, nodes: Collection[str]) -> tuple[str, ...] | None:
    """Return the path of a key that starts with a node's id, which may itself contain dots."""
    parts = key.split(".")
    for length in range(len(parts), 0, -1):
        if (node := ".".join(parts[:length])) in nodes:
            return ("nodes", node, *parts[length:])
    return None


def changed(data: Any, settings: Sequence[Setting]) -> Any:
    """Return a copy of an architecture's data with new values.

    Raises
    ------
    UsageError
        A key names no part of the file; the error names the nearest valid one.
    """
    nodes = data.get("nodes") if isinstance(data, dict) else None
    if not settings or not isinstance(nodes, dict):
        return data  # the validation reports what is missing
    data = deepcopy(data)
    for setting in settings:
        path = path_of(setting.key, nodes)
        if path is None or is_missing_node(path, nodes):
            raise unknown_key(setting, nodes)
        _put(data, path, setting)
    return data


def unknown_key(setting: Setting, nodes: Collection[str]) -> UsageError:
    """Return the error of a key that names neither a node nor a key of the file."""
    name = setting.key.removeprefix("nodes.").partition(".")[0]
    keys = [*nodes, *sorted(set(ArchitectureSpec.model_fields) - set(nodes))]
    hint = suggestion(name, keys)
    return UsageError(f"{setting}: there is no node or key {shown(name)}{hint}")


def _put(data: Any, path: Sequence[str], setting: Setting) -> None:
    """Write a value at a path; objects on the way that are missing or null are created."""
    place = data
    for depth, part in enumerate(path):
        if isinstance(place, list):
            if not (part.isdecimal() and int(part) < len(place)):
                raise UsageError(
                    f"{setting}: {'.'.join(path[:depth])} is a list of {len(place)}; name an "
                    f"element by its number, from 0"
                )
            key: Any = int(part)
        elif isinstance(place, dict):
            key = part
        else:
            raise UsageError(
                f"{setting}: {'.'.join(path[:depth])} is {shown(place)}, which has no key "
                f"{shown(part)}; set it to an object"
            )
        if depth == len(path) - 1:
            place[key] = setting.value
            return
        if isinstance(place, dict) and place.get(key) is None:
            place[key] = {}
        place = place[key]
