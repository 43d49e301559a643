"""Import and run users' Python code, with errors that name its file and line."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType

from archon.errors import ArchonError, SpecError

_NOT_USER_CODE = (
    str(Path(__file__).parents[1]),
    str(Path(importlib.__file__).parent),
    str(Path(importlib.__file__).parents[1] / "asyncio"),  # functions that run in threads
    str(Path(importlib.__file__).parents[1] / "concurrent"),
    "<frozen",
)


def module_of_file(path: Path) -> ModuleType:
    """Import a file. It can import modules next to it.

    Raises
    ------
    SpecError
        The file does not exist, or its code fails. The error names the file and line.
    """
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


def module_of_name(name: str) -> ModuleType:
    """Import a module by its name; it may be in the working folder.

    Raises
    ------
    SpecError
        The module does not exist, or its code fails.
    """
    with _importable(Path.cwd()), user_errors(name):
        return importlib.import_module(name)


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    entry = str(folder.absolute())
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        if entry in sys.path:
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
