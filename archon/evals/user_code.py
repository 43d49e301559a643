"""Import and run users' Python code, with errors that name its file and line.

Only code that a user names on the command line or passes to a function is run. JSON files cannot
refer to code.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from archon.errors import SpecError
from archon.plugins.user_code import module_of_file, module_of_name, place, summary, user_errors
from archon.spec.messages import suggestion

__all__ = ["folder", "import_named", "label", "names_code", "place", "summary", "user_errors"]

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_REF = re.compile(rf"(?P<code>.+\.py|{_NAME}(?:\.{_NAME})*):(?P<name>{_NAME})")


def names_code(ref: object) -> bool:
    """Return whether a string refers to code: ``file.py:name`` or ``package.module:name``."""
    return isinstance(ref, str) and (ref.endswith(".py") or _REF.fullmatch(ref) is not None)


def import_named(ref: str) -> Any:
    """Return the object to which ``file.py:name`` or ``package.module:name`` refers.

    The code can import modules next to its file or, for a module, in the working folder.

    Raises
    ------
    SpecError
        The file or the name does not exist, or the code fails. The error names the file, and the
        line of a failure.
    """
    match = _REF.fullmatch(ref)
    if match is None:
        raise SpecError("must name a function, such as file.py:function", file=ref)
    code, name = match["code"], match["name"]
    module = module_of_file(Path(code)) if code.endswith(".py") else module_of_name(code)
    if not hasattr(module, name):
        functions = [key for key, value in vars(module).items() if callable(value)]
        raise SpecError(f"the code defines no {name!r}{suggestion(name, functions)}", file=code)
    return getattr(module, name)


def label(code: object) -> str:
    """Return a function's name for messages, such as ``file.py:name``.

    For a function without a file it is ``module:name``.
    """
    name = getattr(code, "__qualname__", type(code).__qualname__)
    file = _file(code)
    return f"{getattr(code, '__module__', None) if file is None else file.name}:{name}"


def folder(code: object) -> Path:
    """Return the folder of the file that defines a function, or the working folder."""
    file = _file(code)
    return Path.cwd() if file is None else file.absolute().parent


def _file(code: object) -> Path | None:
    name = getattr(getattr(code, "__code__", None), "co_filename", None)
    return Path(name) if name and Path(name).is_file() else None
