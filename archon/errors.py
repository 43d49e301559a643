"""Every error that Archon raises on purpose.

::

    ArchonError
    ├── SpecError               a file says something it must not (file, JSON path, reason)
    ├── GraphError              the nodes do not form a sound graph (file, node, rule)
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
    ├── StorageError            the disk does not take or give what it should
    ├── UsageError              a command or a call was given something it cannot work with
    └── MissingExtraError       an optional dependency is not installed (names the extra)

Users' mistakes raise; our own are assertions.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archon.types import Limit


class ArchonError(Exception):
    """Base of the tree; its text is fit to be shown to a person as it is."""


class UsageError(ArchonError):
    """A command or a call was given something it cannot work with."""


class SpecError(ArchonError):
    """A JSON file is unreadable or breaks its schema.

    Parameters
    ----------
    reason : what is wrong, in one sentence.
    file : the file's path as the user wrote it, or None for data given from Python.
    path : the JSON path of the place, such as ``$.nodes.draft.samples``.
    """

    def __init__(self, reason: str, *, file: str | None = None, path: str | None = None) -> None:
        self.reason, self.file, self.path = reason, file, path
        super().__init__(": ".join(part for part in (file, path, reason) if part))


class GraphError(ArchonError):
    """The nodes of an architecture do not form a sound graph.

    ``rule`` is the name of the broken rule, as listed in ``archon.graph.checks``.
    """

    def __init__(
        self,
        reason: str,
        *,
        rule: str | None = None,
        file: str | None = None,
        path: str | None = None,
    ) -> None:
        self.reason, self.rule, self.file, self.path = reason, rule, file, path
        text = f"{reason} [{rule}]" if rule else reason
        super().__init__(": ".join(part for part in (file, path, text) if part))


class ModelError(ArchonError):
    """Weights cannot be had: no source gave the right bytes."""


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
    MissingExtraError : the package is not installed.
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
