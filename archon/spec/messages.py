"""Describe paths, values and suggestions in errors about files.

All descriptions are short and printable, even if a value has megabytes, thousands of digits or
control characters.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable

from archon.spec.secrets import mask_known_keys

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")
_MAX_KEY = 80
_MAX_TEXT = 60
_MAX_READ = 4096
_MAX_LISTED = 12


def json_path(parts: Iterable[object]) -> str:
    """Return a JSON path, such as ``$.nodes.best.inputs[0]``.

    >>> json_path(["nodes", "best", "inputs", 0])
    '$.nodes.best.inputs[0]'
    >>> json_path(["models", "my model"])
    '$.models["my model"]'
    """
    return "$" + "".join(_step(part) for part in parts)


def _step(part: object) -> str:
    if isinstance(part, int):
        return f"[{shown(part)}]"
    short = _shorten(mask_known_keys(str(part)[:_MAX_READ]), _MAX_KEY)
    return f".{short}" if _PLAIN_KEY.match(short) else f"[{json.dumps(short)}]"


def _shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit] + "…"


def shown(value: object) -> str:
    """Return a short, printable description of a file's value, for error messages.

    >>> shown("generater"), shown(True), shown({"a": 1}), shown([1, 2])
    ("'generater'", 'true', 'an object with 1 key', 'a list of 2')
    """
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return repr(_shorten(mask_known_keys(value[:_MAX_READ]), _MAX_TEXT))
        case int():
            return str(value) if value.bit_length() <= 128 else "an integer with dozens of digits"
        case float():
            return repr(value)
        case dict():
            return f"an object with {len(value)} key{'' if len(value) == 1 else 's'}"
        case list():
            return f"a list of {len(value)}"
        case _:
            return f"a Python {type(value).__name__}"


def suggestion(name: object, valid: Iterable[str]) -> str:
    """Return a hint for an unknown name: the most similar valid name, or a list of valid names.

    >>> suggestion("sampels", ["samples", "model"])
    "; did you mean 'samples'?"
    >>> suggestion("zzz", ["samples", "model"])
    "; there are 'samples', 'model'"
    """
    valid = list(valid)
    wanted = name[:_MAX_KEY] if isinstance(name, str) else ""
    near = difflib.get_close_matches(wanted, valid, n=1)
    if near:
        return f"; did you mean {shown(near[0])}?"
    if not valid:
        return "; there are none"
    listed = ", ".join(shown(option) for option in valid[:_MAX_LISTED])
    more = f" and {len(valid) - _MAX_LISTED} more" if len(valid) > _MAX_LISTED else ""
    return f"; there {'is' if len(valid) == 1 else 'are'} {listed}{more}"
