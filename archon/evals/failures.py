"""Group failed answers by cause, and stop an evaluation that has too many of them."""

from __future__ import annotations

import contextlib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypedDict

from archon.errors import TooManyErrorsError, UsageError
from archon.spec.messages import shown

CONSECUTIVE = 10
"""Without ``max_errors``, an evaluation stops if this many answers in a row fail for the same
cause."""

MaxErrors = int | float | None
"""Number of failed answers (int), or their share of all answers (float), above which an evaluation
stops. None stops it if ``CONSECUTIVE`` answers in a row fail for the same cause."""

_WHERE = re.compile(
    r"^(?:NodeError: |(ScoringError: ))?(?:(?:node|item) (?:'[^']*'|\"[^\"]*\"): )+"
)
"""Matches the part of a message before its reason, such as ``NodeError: node 'solve': ``."""
_VARYING = re.compile(
    r"\b(?:req|request|chatcmpl|cmpl|resp|msg|run|call|trace|span|id)[-_][a-z0-9_-]{6,}"
    r"|(?<![a-z0-9])(?=[a-z]*[0-9])[a-z0-9_-]{16,}(?![a-z0-9])|0x[0-9a-f]+|(?<![a-z0-9])(?=[a-z]*[0-9])[0-9a-f]{8,}(?:-[0-9a-f]{4,})*(?![a-z0-9])|\d+(?:\.\d+)*",
    re.IGNORECASE,
)
"""Matches parts of a message that vary: numbers, memory addresses, digests and other ids."""


class Cause(TypedDict):
    """A group of failures with the same cause."""

    cause: str
    """The message of one of these failures."""
    count: int
    """Number of failures."""


def same_cause(message: str) -> str:
    """Return a message without the parts that vary between failures with the same cause.

    The names of nodes and items are removed. Numbers, ids and addresses are replaced with ``#``.

    >>> same_cause("NodeError: node 'solve': LMError: no answer in 30.5 s (sample 3)")
    'LMError: no answer in # s (sample #)'
    >>> same_cause("400: bad request (req_011CSHoEeqs5C35K2UUqR7Fy)")
    '#: bad request (#)'
    """
    return _VARYING.sub("#", _WHERE.sub(r"\1", message))


def causes(messages: Mapping[str, int]) -> list[Cause]:
    """Group failures by cause; return the groups, largest first.

    Parameters
    ----------
    messages
        Message → number of answers that failed with this message.
    """
    groups: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for message, number in messages.items():
        groups[same_cause(message)][message] += number
    found: list[Cause] = [
        {"cause": min(group), "count": group.total()} for group in groups.values()
    ]
    return sorted(found, key=lambda cause: (-cause["count"], cause["cause"]))


def causes_text(found: Iterable[Cause]) -> str:
    """Format causes on one line.

    >>> causes_text([{"cause": "NodeError: node 'solve': cannot connect", "count": 2}])
    "2 × node 'solve': cannot connect"
    """
    return "; ".join(
        f"{cause['count']} × {cause['cause'].removeprefix('NodeError: ')}" for cause in found
    )


def parse_max_errors(text: str) -> int | float:
    """Parse the value of ``--max-errors``.

    A whole number such as ``20`` is a number of answers; ``0.1`` and ``10%`` are shares.

    Raises
    ------
    UsageError
        The text is neither a number of answers nor a share from 0 to 1.
    """
    stripped = text.strip()
    limit: int | float = -1
    with contextlib.suppress(ValueError):
        if stripped.endswith("%"):
            limit = float(stripped[:-1]) / 100
        else:
            limit = int(stripped) if re.fullmatch(r"[+-]?\d+", stripped) else float(stripped)
    if not _is_limit(limit):
        raise UsageError(
            "--max-errors must be a number of answers, such as 20, or a share of all answers, such "
            f"as 0.1 or 10%, not {shown(text)}"
        )
    return limit


def _is_limit(given: object) -> bool:
    if isinstance(given, bool):
        return False
    if isinstance(given, int):
        return given >= 0
    return isinstance(given, float) and 0 <= given <= 1


@dataclass
class ErrorLimit:
    """Counts the failures of a session, and stops the evaluation when there are too many.

    Raises
    ------
    UsageError
        ``max_errors`` is neither a number of answers nor a share from 0 to 1.
    """

    max_errors: MaxErrors
    num_runs: int
    """Total number of answers in the run. If ``max_errors`` is a share, it refers to this
    number."""
    _num_failed: int = 0
    _since_success: Counter[str] = field(default_factory=Counter)
    """Cause → number of failures since the last success."""

    def __post_init__(self) -> None:
        if self.max_errors is not None and not _is_limit(self.max_errors):
            raise UsageError(
                "max_errors must be a number of answers (int) or a share from 0 to 1 (float), not "
                f"{shown(self.max_errors)}"
            )

    def note(self, error: str | None) -> None:
        """Count one answer. Must be called for all answers, in the order in which they finish.

        Parameters
        ----------
        error
            The message of the failure; None for a success.

        Raises
        ------
        TooManyErrorsError
            Too many answers have failed.
        """
        if error is None:
            self._since_success.clear()
            return
        self._num_failed += 1
        cause = same_cause(error)
        self._since_success[cause] += 1
        message = error.removeprefix("NodeError: ")
        if self.max_errors is None:
            if self._since_success[cause] >= CONSECUTIVE:
                reason = f"{CONSECUTIVE} answers in a row failed for the same cause"
                raise TooManyErrorsError(f"{reason}: {message}", cause=error)
        elif self._num_failed > self._allowed:
            answers = "1 answer" if self._num_failed == 1 else f"{self._num_failed} answers"
            reason = f"{answers} failed, more than max_errors allows ({self._limit})"
            raise TooManyErrorsError(f"{reason}; last failure: {message}", cause=error)

    @property
    def _allowed(self) -> int:
        if isinstance(self.max_errors, float):
            return math.floor(self.max_errors * self.num_runs + 1e-9)
        return self.max_errors or 0

    @property
    def _limit(self) -> str:
        if isinstance(self.max_errors, float):
            return f"{100 * self.max_errors:g}% of {self.num_runs}"
        return str(self.max_errors)
