"""The exceptions that Archon raises.

::

    ArchonError
    ├── FileError               a file is invalid
    │   ├── SpecError           it is unreadable or breaks its schema (file, JSON path, reason)
    │   └── GraphError          its nodes do not form a valid graph (file, node, rule)
    ├── ModelError              weights are unavailable
    │   └── ModelFileError      a file of weights is damaged or its format is not supported
    ├── EngineError             the engine rejects a request or fails
    │   └── ContextLengthError  prompt and new tokens do not fit the model's context or the cache
    ├── LMError                 a language model did not answer (retryable or not)
    │   ├── RefusedError        the server refuses every request: key, address or name is wrong
    │   └── UnsupportedError    the model lacks an ability that the request needs
    ├── NodeError               a node failed while it answered a question (node, cause)
    ├── SandboxError            a model's program cannot be started
    ├── BudgetError             tokens, calls or seconds are used up before there is an answer
    ├── ScoringError            an answer or a target cannot be scored
    ├── TooManyErrorsError      an evaluation stopped because too many answers failed
    ├── StorageError            reading from or writing to the disk failed
    ├── UsageError              an argument of a command or a call is invalid
    └── MissingExtraError       an optional dependency is not installed (names the extra)

Mistakes of users raise these errors; internal invariants are assertions.
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
    """Base class; the text of every error can be shown to users unchanged."""


class UsageError(ArchonError):
    """An argument of a command or a call is invalid."""


class FileError(ArchonError):
    """A file is invalid; one error can list several faults.

    Parameters
    ----------
    reason
        What is wrong, in one sentence.
    file
        The file's path as the user wrote it, or None for data given from Python.
    path
        The JSON path of the fault, such as ``$.nodes.draft.samples``.
    references
        The locations that reference the file, such as an architecture that names a card; the
        nearest first.
    others
        Further errors of the same pass. The text has one line per error.
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
        """Every error without its ``others``; this one first."""
        return (self._copy_with(others=()), *self.others)

    def _copy_with(self, **changes: Any) -> Self:
        names = ("file", "path", "references", "others")
        return type(self)(self.reason, **{name: getattr(self, name) for name in names} | changes)

    def to_json(self) -> list[dict[str, Any]]:
        """Return every error as JSON data."""
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
        """Return the errors with ``path`` of ``file`` added as the location of the reference.

        An error without a file becomes an error at that location.
        """
        return self._map_errors(
            lambda error: (
                error._copy_with(file=file, path=path)
                if error.file is None
                else error._copy_with(references=(*error.references, (file, path)))
            )
        )

    def in_file(self, file: str | None) -> Self:
        """Return the errors with ``file`` filled in where an error or a reference has no file."""
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
"""A file, or None for data from Python, and a JSON path in it."""
MAX_REPORTED = 100
"""Maximum number of errors that a text lists; the others are counted."""
MAX_COLLECTED = 1_000
"""Maximum number of errors that are collected from one file, which could have millions."""


def together(errors: Sequence[FileError]) -> FileError:
    """Combine errors into one error of the first one's type, without duplicates."""
    unique = {str(one): one for error in errors for one in error.errors}
    first, *others = unique.values()
    return first._copy_with(others=others)


@contextmanager
def reference_at(file: str | None, path: str) -> Iterator[None]:
    """Add ``path`` of ``file`` as the location of the reference to all errors of the block."""
    try:
        yield
    except FileError as error:
        raise error.referenced_by(file, path) from error.__cause__


class SpecError(FileError):
    """A JSON file is unreadable or breaks its schema; ``errors`` has all faults."""


class GraphError(FileError):
    """The nodes of an architecture do not form a valid graph; ``errors`` has all faults.

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
    """Weights are unavailable: no source has the expected bytes."""

    def name_card(self, card: str) -> None:
        """Prepend the model card's file, and the places that reference it, to the text."""
        self.args = (f"{card}: {self}",)


class ModelFileError(ModelError):
    """A file of weights is damaged, or its format is not supported."""


class EngineError(ArchonError):
    """The engine rejects a request or fails."""


class ContextLengthError(EngineError):
    """Prompt and new tokens do not fit the model's context or the cache."""


class LMError(ArchonError):
    """A language model did not answer.

    ``retryable`` is set if the same call may succeed later. ``retry_after_seconds`` is the wait
    that the server requested, if any.
    """

    def __init__(
        self, reason: str, *, retryable: bool = False, retry_after_seconds: float | None = None
    ) -> None:
        self.reason, self.retryable = reason, retryable
        self.retry_after_seconds = retry_after_seconds
        super().__init__(reason)


class UnsupportedError(LMError):
    """The model lacks an ability that the request needs; a retry does not help."""


class RefusedError(LMError):
    """The server refuses every request: its key, address or name is wrong.

    ``status`` is the HTTP status of its reply, if there was one.
    """

    def __init__(self, reason: str, *, status: int | None = None) -> None:
        self.status = status
        super().__init__(reason)


class NodeError(ArchonError):
    """A node failed while it answered a question; the reason is the error's ``__cause__``."""

    def __init__(self, node: str, cause: BaseException) -> None:
        self.node = node
        super().__init__(f"node {node!r}: {cause}")


class SandboxError(ArchonError):
    """The sandbox cannot start a program. The failure of a started program is its outcome."""


class BudgetError(ArchonError):
    """A question has used up its tokens, calls or seconds; ``limit`` names which."""

    def __init__(self, reason: str, limit: Limit = "calls") -> None:
        self.limit: Limit = limit
        super().__init__(reason)


class ScoringError(ArchonError):
    """An answer or a target cannot be scored."""


class TooManyErrorsError(ArchonError):
    """An evaluation stopped because too many answers failed; ``cause`` is the last error.

    The run's folder keeps what is finished, and the run can be resumed.
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
    """Import an optional dependency, or name the extra that installs it.

    Raises
    ------
    MissingExtraError
        The package is not installed.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] == package.split(".")[0]:
            raise MissingExtraError(package.split(".")[0], extra) from None
        raise


def os_reason(error: OSError) -> str:
    """Return the reason that the operating system gives, without the name of the file."""
    return os.strerror(error.errno) if error.errno else str(error)
