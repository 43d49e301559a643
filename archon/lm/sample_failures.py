"""Handle failed samples, so that one sample's error does not affect a request's other samples."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from archon.errors import LMError, NodeError, RefusedError, UnsupportedError
from archon.types import Completion, Usage

_STATUSES_OF_ONE_SAMPLE = frozenset({403, 404})
"""HTTP statuses that may affect only one sample, for example because the server refuses its prompt.
"""


def failed_sample(index: int, error: Exception) -> Completion:
    """Return a placeholder for a failed sample, with its error and without any usage."""
    return Completion("", index, "error", Usage(), {}, error=str(error))


class Failures:
    """Collects the errors of single samples, and raises the first error if every sample fails.

    >>> import asyncio
    >>> async def fails() -> list[Completion]:
    ...     raise LMError("the connection failed")
    >>> failures = Failures()
    >>> [sample] = asyncio.run(failures.catch(fails, range(1)))
    >>> sample.error
    'the connection failed'
    >>> failures.check([sample])
    Traceback (most recent call last):
    archon.errors.LMError: the connection failed
    """

    def __init__(self) -> None:
        self._first: Exception | None = None

    async def catch(
        self, call: Callable[[], Awaitable[list[Completion]]], indices: range
    ) -> list[Completion]:
        """Return a call's completions. If it fails, return a failed sample for each of ``indices``.

        An error that affects every sample, such as a wrong API key, is raised.
        """
        try:
            return await call()
        except (LMError, NodeError) as error:
            if not _concerns_one_sample(error):
                raise
            self._first = self._first or error
            return [failed_sample(index, error) for index in indices]

    def check(self, completions: Sequence[Completion]) -> None:
        """Raise the first failure if no sample succeeded."""
        if completions and all(completion.error is not None for completion in completions):
            raise self._first or LMError(completions[0].error or "every sample failed")


def require_all(completions: list[Completion]) -> list[Completion]:
    """Return the completions unchanged if none failed.

    Raises
    ------
    LMError
        A completion failed. This is the first failed completion's error.
    """
    for completion in completions:
        if completion.error is not None:
            raise LMError(completion.error)
    return completions


def _concerns_one_sample(error: BaseException | None) -> bool:
    while isinstance(error, NodeError):
        error = error.__cause__
    if isinstance(error, RefusedError):
        return error.status in _STATUSES_OF_ONE_SAMPLE
    return isinstance(error, LMError) and not isinstance(error, UnsupportedError)
