"""The exceptions that Archon raises.

::

    ArchonError ├── FileError               a file is invalid │   ├── SpecError           it cannot
    be read or does not match its schema │   └── GraphError          its nodes do not form a valid
    graph ├── ModelError              weights are unavailable │   └── ModelFileError      a file of
    weights is damaged or its format is not supported ├── EngineError             the engine rejects
    a request or fails │   └── ContextLengthError  prompt and new tokens do not fit in the context
    or the cache ├── LMError                 a language model did not answer │   ├── RefusedError
    the server refuses all requests (wrong key, address or name) │   └── UnsupportedError    the
    model lacks a capability that the request needs ├── NodeError               a node failed while
    it answered a question ├── SandboxError            a program that a model wrote cannot be
    started ├── BudgetError             the budget is used up before there is an answer ├──
    ScoringError            an answer or a target cannot be scored ├── TooManyErrorsError      an
    evaluation stopped because too many answers failed ├── StorageError            reading from or
    writing to the disk failed ├── UsageError              an argument of a command or a call is
    invalid └── MissingExtraError       an optional dependency is not installed (names the extra)

These errors report users' mistakes and failures of the environment. Internal invariants are checked
with assertions.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from archon.types import Limit


class ArchonError(Exception):
    """Base class of all errors. An error's text is written for users."""


class UsageError(ArchonError):
    """An argument of a command or a call is invalid."""


class FileError(ArchonError):
    """A file is invalid. One exception can contain several errors.

    Parameters
    ----------
    reason
        What is wrong, in one sentence.
    file
        Path of the file, as the user wrote it; None for data passed from Python.
    path
        JSON path of the invalid value, such as ``$.nodes.draft.samples``.
    references
        Locations that reference the file, nearest first. An example is the place where an
        architecture names a model card.
    others
        Other errors that were found at the same time. The text has one line per error.
    """

    def __init__(
        self,
        reason: str,
        *,
        file: str | None = None,
        path: str | None = None,
        references: Sequence[Place] = (),
        others: Sequence[FileError] = (),
    ) -> None:
        self.reason, self.file, self.path = reason, file, path
        self.references, self.others = tuple(references), tuple(others)
        is_same_file = all(error.file == file for error in self.others)
        lines = [self._line(file)]
        lines += [
            "  " + other._line(None if is_same_file else other.file)
            for other in self.others[: MAX_REPORTED - 1]
        ]
        if len(self.others) >= MAX_REPORTED:
            lines.append(f"  and {len(self.others) - MAX_REPORTED + 1} more")
        super().__init__("\n".join(lines))

    def _line(self, file: str | None) -> str:
        parts = (self._file_with_references(file), self.path, self._message())
        return ": ".join(filter(None, parts))

    def _message(self) -> str:
        return self.reason

    def _file_with_references(self, file: str | None) -> str:
        if file is None or not self.references:
            return file or ""
        references = (", ".join(filter(None, place)) for place in self.references)
        return f"{file} ({', '.join(f'referenced by {text}' for text in references)})"

    @property
    def errors(self) -> tuple[FileError, ...]:
        """All errors, each without ``others``. This error comes first."""
        return (self._copy_with(others=()), *self.others)

    def _copy_with(self, **changes: Any) -> Self:
        names = ("file", "path", "references", "others")
        return type(self)(self.reason, **{name: getattr(self, name) for name in names} | changes)

    def to_json(self) -> list[dict[str, Any]]:
        """Return all errors as JSON data."""
        return [
            {
                "file": error.file,
                "path": error.path,
                "message": error._message(),
                "referenced_by": [{"file": file, "path": path} for file, path in error.references],
            }
            for error in self.errors
        ]

    def referenced_by(self, file: str | None, path: str) -> Self:
        """Return a copy in which the location (file, path) is added to every error's references.

        If an error has no file, the location becomes its own file and path instead.
        """
        return self._map_errors(
            lambda error: (
                error._copy_with(file=file, path=path)
                if error.file is None
                else error._copy_with(references=(*error.references, (file, path)))
            )
        )

    def in_file(self, file: str | None) -> Self:
        """Return a copy in which ``file`` is the file of errors and references that have none."""
        return self._map_errors(
            lambda error: error._copy_with(
                file=error.file or file,
                references=[(source or file, path) for source, path in error.references],
            )
        )

    def _map_errors(self, change: Callable[[FileError], FileError]) -> Self:
        first, *others = map(change, self.errors)
        assert isinstance(first, type(self))
        return first._copy_with(others=others)


Place = tuple[str | None, str]
"""A location: a file (None for data passed from Python) and a JSON path in it."""
MAX_REPORTED = 100
"""Maximum number of errors listed in an exception's text, which counts all further errors."""
MAX_COLLECTED = 1_000
"""Maximum number of errors to collect from one file, which could contain millions."""


def together(errors: Sequence[FileError]) -> FileError:
    """Combine errors, without duplicates, into one exception of the first error's type."""
    unique = {str(one): one for error in errors for one in error.errors}
    first, *others = unique.values()
    return first._copy_with(others=others)


@contextmanager
def reference_at(file: str | None, path: str) -> Iterator[None]:
    """Add the location (file, path) to the references of a ``FileError`` raised in the block."""
    try:
        yield
    except FileError as error:
        raise error.referenced_by(file, path) from error.__cause__


class SpecError(FileError):
    """A JSON file cannot be read or does not match its schema. ``errors`` lists all errors."""


class GraphError(FileError):
    """The nodes of an architecture do not form a valid graph. ``errors`` lists all errors.

    ``rule`` is the name of the violated rule (see ``archon.graph.validation.checks``).
    """

    def __init__(
        self,
        reason: str,
        *,
        rule: str | None = None,
        file: str | None = None,
        path: str | None = None,
        references: Sequence[Place] = (),
        others: Sequence[FileError] = (),
    ) -> None:
        self.rule = rule
        super().__init__(reason, file=file, path=path, references=references, others=others)

    def _message(self) -> str:
        return f"{self.reason} [{self.rule}]" if self.rule else self.reason

    def _copy_with(self, **changes: Any) -> Self:
        return super()._copy_with(**{"rule": self.rule} | changes)


class ModelError(ArchonError):
    """Weights are unavailable because no source provides the expected file."""

    def name_card(self, card: str) -> None:
        """Prepend the model card's file, and the locations that reference it, to the text."""
        self.args = (f"{card}: {self}",)


class ModelFileError(ModelError):
    """A file of weights is damaged, or its format is not supported."""


class EngineError(ArchonError):
    """The engine rejects a request or fails."""


class ContextLengthError(EngineError):
    """The prompt and the new tokens do not fit in the model's context or the cache."""


class LMError(ArchonError):
    """A language model did not answer.

    ``retryable`` is True if the same call may succeed later. ``retry_after_seconds`` is the delay
    requested by the server, or None.
    """

    def __init__(
        self, reason: str, *, retryable: bool = False, retry_after_seconds: float | None = None
    ) -> None:
        self.reason, self.retryable = reason, retryable
        self.retry_after_seconds = retry_after_seconds
        super().__init__(reason)


class UnsupportedError(LMError):
    """The model lacks a capability that the request needs, so a retry would fail too.

    ``field`` is the field of ``archon.types.Request`` at fault, such as ``messages``, or None if no
    single field is.
    """

    def __init__(self, reason: str, *, field: str | None = None) -> None:
        self.field = field
        super().__init__(reason)


class RefusedError(LMError):
    """The server refuses all requests because the key, the address or the model name is wrong.

    ``status`` is the reply's HTTP status, or None if there was no reply.
    """

    def __init__(self, reason: str, *, status: int | None = None) -> None:
        self.status = status
        super().__init__(reason)


class NodeError(ArchonError):
    """A node failed while it answered a question. ``__cause__`` is the node's error."""

    def __init__(self, node: str, cause: BaseException) -> None:
        self.node = node
        super().__init__(f"node {node!r}: {cause}")


class SandboxError(ArchonError):
    """The sandbox cannot start a program. A running program's failure is not an exception."""


class BudgetError(ArchonError):
    """A question's budget is used up. ``limit`` is ``tokens``, ``calls`` or ``seconds``."""

    def __init__(self, reason: str, limit: Limit = "calls") -> None:
        self.limit: Limit = limit
        super().__init__(reason)


class ScoringError(ArchonError):
    """An answer cannot be scored, or an item's correct answer is invalid."""


class TooManyErrorsError(ArchonError):
    """An evaluation stopped because too many answers failed.

    ``cause`` is the last error's text. Finished answers are kept, and the run can be resumed.
    """

    def __init__(self, reason: str, *, cause: str) -> None:
        self.reason, self.cause = reason, cause
        super().__init__(reason)


class StorageError(ArchonError):
    """Reading from or writing to the disk failed."""


class MissingExtraError(ArchonError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        self.package, self.extra = package, extra
        super().__init__(
            f"{package} is not installed; install it with: pip install 'archon-inference[{extra}]'"
        )


def require(package: str, extra: str) -> ModuleType:
    """Import and return an optional dependency.

    Raises
    ------
    MissingExtraError
        The package is not installed. The error names the extra that installs it.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] == package.split(".")[0]:
            raise MissingExtraError(package.split(".")[0], extra) from None
        raise


def os_reason(error: OSError) -> str:
    """Return the operating system's message, without the file name (``Permission denied``)."""
    return os.strerror(error.errno) if error.errno else str(error)
