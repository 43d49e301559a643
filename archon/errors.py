"""Every error that Archon raises on purpose.

::

    ArchonError
    ├── FileError               a file is wrong at some place
    │   ├── SpecError           it says something it must not (file, JSON path, reason)
    │   └── GraphError          its nodes do not form a sound graph (file, node, rule)
    ├── ModelError              weights cannot be had
    │   └── ModelFileError      the file is damaged, or of a kind that we cannot run
    ├── EngineError             the engine refuses or fails a request
    │   └── ContextLengthError  prompt plus new tokens do not fit the model's context or the cache
    ├── LMError                 a language model did not answer (retryable or not)
    │   ├── RefusedError        the server refuses every request: key, address or name is wrong
    │   └── UnsupportedError    the request asks for something that this model cannot do
    ├── NodeError               a node failed while a question ran (names the node, keeps the cause)
    ├── SandboxError            a program of a model cannot be run (its own failure is no error)
    ├── BudgetError             tokens, calls or seconds are used up before there is any answer
    ├── ScoringError            an answer or a target cannot be scored
    ├── TooManyErrorsError      an evaluation stopped because too many answers failed
    ├── StorageError            the disk does not take or give what it should
    ├── UsageError              a command or a call was given something it cannot work with
    └── MissingExtraError       an optional dependency is not installed (names the extra)

Users' mistakes raise; our own are assertions.
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
    """Base of the tree; its text is fit to be shown to a person as it is."""


class UsageError(ArchonError):
    """A command or a call was given something it cannot work with."""


class FileError(ArchonError):
    """A file is wrong at some place; it may be wrong at others, too.

    Parameters
    ----------
    reason
        What is wrong, in one sentence.
    file
        The file's path as the user wrote it, or None for data given from Python.
    path
        The JSON path of the place, such as ``$.nodes.draft.samples``.
    references
        The places that name the file, the nearest first: of a card, the architecture.
    others
        What else was found in the same pass; the text lists all, one a line.
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
        same_file = all(error.file == file for error in self.others)
        lines = [self._line(file)]
        lines += [
            "  " + other._line(None if same_file else other.file)
            for other in self.others[: MAX_REPORTED - 1]
        ]
        if len(self.others) >= MAX_REPORTED:
            lines.append(f"  and {len(self.others) - MAX_REPORTED + 1} more")
        super().__init__("\n".join(lines))

    def _line(self, file: str | None) -> str:
        return ": ".join(part for part in (self._named(file), self.path, self._sentence()) if part)

    def _sentence(self) -> str:
        return self.reason

    def _named(self, file: str | None) -> str:
        if file is None or not self.references:
            return file or ""
        places = (", ".join(part for part in place if part) for place in self.references)
        return f"{file} ({', '.join(f'referenced by {place}' for place in places)})"

    @property
    def errors(self) -> tuple[FileError, ...]:
        """Every error alone, this one first."""
        return (self._changed(others=()), *self.others)

    def _changed(self, **changes: Any) -> Self:
        names = ("file", "path", "references", "others")
        return type(self)(self.reason, **{name: getattr(self, name) for name in names} | changes)

    def to_json(self) -> list[dict[str, Any]]:
        """Every error as plain data."""
        return [
            {
                "file": error.file,
                "path": error.path,
                "message": error._sentence(),
                "referenced_by": [{"file": file, "path": path} for file, path in error.references],
            }
            for error in self.errors
        ]

    def referenced_by(self, file: str | None, path: str) -> Self:
        """The same errors, found while the place ``path`` of ``file`` was followed.

        What names no file of its own is an error at that place.
        """
        return self._each(
            lambda error: (
                error._changed(file=file, path=path)
                if error.file is None
                else error._changed(references=(*error.references, (file, path)))
            )
        )

    def in_file(self, file: str | None) -> Self:
        """The same errors, where those that name no file, and references from none, are to it."""
        return self._each(
            lambda error: error._changed(
                file=error.file or file,
                references=[(place or file, path) for place, path in error.references],
            )
        )

    def _each(self, change: Callable[[FileError], FileError]) -> Self:
        first, *others = map(change, self.errors)
        assert isinstance(first, type(self))
        return first._changed(others=others)


Place = tuple[str | None, str]
"""A file, or None for data given from Python, and a JSON path in it."""
MAX_REPORTED = 100
"""So many errors are listed in a text; the rest is counted."""
MAX_COLLECTED = 1_000
"""So many errors of one file are collected: a file of megabytes can have a million."""


def together(errors: Sequence[FileError]) -> FileError:
    """One error that lists several, none twice, of the type of the first."""
    alone = {str(error): error for given in errors for error in given.errors}
    first, *others = alone.values()
    return first._changed(others=others)


@contextmanager
def reference_at(file: str | None, path: str) -> Iterator[None]:
    """Follow a reference at ``path`` of ``file``: errors in the file that it names name it, too."""
    try:
        yield
    except FileError as error:
        raise error.referenced_by(file, path) from error.__cause__


class SpecError(FileError):
    """A JSON file is unreadable or breaks its schema; ``errors`` are all that were found."""


class GraphError(FileError):
    """The nodes of an architecture do not form a sound graph; ``errors`` are all that were found.

    ``rule`` is the name of the broken rule, as listed in ``archon.graph.validation.checks``.
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

    def _sentence(self) -> str:
        return f"{self.reason} [{self.rule}]" if self.rule else self.reason

    def _changed(self, **changes: Any) -> Self:
        return super()._changed(**{"rule": self.rule} | changes)


class ModelError(ArchonError):
    """Weights cannot be had: no source gave the right bytes."""

    def name_card(self, card: str) -> None:
        """Put the file of the model card, and what references it, in front of the text."""
        self.args = (f"{card}: {self}",)


class ModelFileError(ModelError):
    """A file of weights is damaged, or of a kind that cannot be run."""


class EngineError(ArchonError):
    """The engine refuses or fails a request."""


class ContextLengthError(EngineError):
    """Prompt plus new tokens do not fit the model's context or the cache."""


class LMError(ArchonError):
    """A language model did not answer.

    ``retryable`` tells whether the same call may succeed later; ``retry_after_seconds`` is how
    long the other side asked us to wait, if it said so.
    """

    def __init__(
        self, reason: str, *, retryable: bool = False, retry_after_seconds: float | None = None
    ) -> None:
        self.reason, self.retryable = reason, retryable
        self.retry_after_seconds = retry_after_seconds
        super().__init__(reason)


class UnsupportedError(LMError):
    """The request asks for something that this model cannot do; asking again does not help."""


class RefusedError(LMError):
    """The server refuses every request, whatever it asks: its key, address or name is wrong.

    ``status`` is the HTTP status that it answered with, if it did.
    """

    def __init__(
        self,
        reason: str,
        *,
        retryable: bool = False,
        retry_after_seconds: float | None = None,
        status: int | None = None,
    ) -> None:
        self.status = status
        super().__init__(reason, retryable=retryable, retry_after_seconds=retry_after_seconds)


class NodeError(ArchonError):
    """A node failed while a question ran; the reason is its ``__cause__``."""

    def __init__(self, node: str, cause: BaseException) -> None:
        self.node = node
        super().__init__(f"node {node!r}: {cause}")


class SandboxError(ArchonError):
    """The sandbox cannot run a program; what goes wrong in a program that runs is its outcome."""


class BudgetError(ArchonError):
    """A question has used up its tokens, calls or seconds; ``limit`` tells which, where known."""

    def __init__(self, reason: str, limit: Limit = "calls") -> None:
        self.limit: Limit = limit
        super().__init__(reason)


class ScoringError(ArchonError):
    """An answer or a target cannot be scored."""


class TooManyErrorsError(ArchonError):
    """An evaluation stopped because too many answers failed; ``cause`` is the last one's error.

    What is finished stays in the run's folder, and resuming the run continues there.
    """

    def __init__(self, reason: str, *, cause: str) -> None:
        self.reason, self.cause = reason, cause
        super().__init__(reason)


class StorageError(ArchonError):
    """The disk does not take or give what it should: it is full, or refuses, or fails."""


class MissingExtraError(ArchonError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        self.package, self.extra = package, extra
        super().__init__(
            f"{package} is not installed; install it with: pip install 'archon-inference[{extra}]'"
        )


def require(package: str, extra: str) -> ModuleType:
    """Import an optional dependency, or say which extra brings it.

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
    """Why the system refused, without the name of the file."""
    return os.strerror(error.errno) if error.errno else str(error)
