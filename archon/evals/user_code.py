"""Import and run users' Python code, with errors that name its file and line.

Only code that a user names on the command line or passes to a function is run. JSON files cannot
refer to code.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

from archon.errors import ArchonError, SpecError
from archon.spec.messages import suggestion

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_REF = re.compile(rf"(?P<code>.+\.py|{_NAME}(?:\.{_NAME})*):(?P<name>{_NAME})")
_NOT_USER_CODE = (
    str(Path(__file__).parents[1]),
    str(Path(importlib.__file__).parent),
    "<frozen",
)


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
    module = _module_of_file(Path(code)) if code.endswith(".py") else _module(code)
    if not hasattr(module, name):
        functions = [key for key, value in vars(module).items() if callable(value)]
        raise SpecError(f"the code defines no {name!r}{suggestion(name, functions)}", file=code)
    return getattr(module, name)


def _module_of_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise SpecError("no such file", file=str(path))
    name = f"archon_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, "a file that ends in .py has a loader"
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses, for example, look up their module
    with _importable(path.parent), user_errors(str(path)):
        spec.loader.exec_module(module)
    return module


def _module(name: str) -> ModuleType:
    with _importable(Path.cwd()), user_errors(name):
        return importlib.import_module(name)


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    entry = str(folder.absolute())
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        sys.path.remove(entry)


@contextmanager
def user_errors(file: str) -> Iterator[None]:
    """Convert exceptions of user code to ``SpecError``; send its output to standard error.

    Raises
    ------
    SpecError
        The code failed. The error names the file and line of the code or, if these are unknown,
        ``file``.
    """
    try:
        with redirect_stdout(sys.stderr):
            yield
    except ArchonError:
        raise
    except (Exception, SystemExit) as error:
        raise SpecError(summary(error), file=place(error) or file) from error


def summary(error: BaseException) -> str:
    """Return an exception's type and the first line of its message."""
    text = str(error.msg if isinstance(error, SyntaxError) else error).strip().split("\n")[0]
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


def place(error: BaseException) -> str | None:
    """Return ``FILE:LINE`` of the user code that caused an exception; None if it is unknown.

    If a library raised the exception, this is the line in the user's code that called the library.
    """
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f"{error.filename}:{error.lineno}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(_NOT_USER_CODE)
    ]
    if not frames:
        return None
    # If a library raised it, the user's line that called the library counts.
    own = [frame for frame in frames if frame.filename == frames[0].filename]
    return f"{own[-1].filename}:{own[-1].lineno}"


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
