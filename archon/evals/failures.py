"""Failed answers: grouped by cause, and the limit at which an evaluation stops."""

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
"""By default an evaluation stops after this many failures of one cause without a success."""

MaxErrors = int | float | None
"""Failures before an evaluation stops: an integer is a number of answers, a float a share of all
answers; None stops after ``CONSECUTIVE`` failures of one cause in a row."""

_WHERE = re.compile(
    r"^(?:NodeError: |(ScoringError: ))?(?:(?:node|item) (?:'[^']*'|\"[^\"]*\"): )+"
)
"""The place of a failure, in front of its reason."""
_VARYING = re.compile(
    r"\b(?:req|request|chatcmpl|cmpl|resp|msg|run|call|trace|span|id)[-_][a-z0-9_-]{6,}"
    r"|(?<![a-z0-9])(?=[a-z]*[0-9])[a-z0-9_-]{16,}(?![a-z0-9])|0x[0-9a-f]+|(?<![a-z0-9])(?=[a-z]*[0-9])[0-9a-f]{8,}(?:-[0-9a-f]{4,})*(?![a-z0-9])|\d+(?:\.\d+)*",
    re.IGNORECASE,
)
"""Memory addresses, digests and other ids, numbers."""


class Cause(TypedDict):
    """Failures of one cause."""

    cause: str
    """The message of one of them."""
    count: int


def same_cause(message: str) -> str:
    """Normalize a message: remove node and item, and replace numbers, ids and addresses.

    >>> same_cause("NodeError: node 'solve': LMError: no answer in 30.5 s (sample 3)")
    'LMError: no answer in # s (sample #)'
    >>> same_cause("400: bad request (req_011CSHoEeqs5C35K2UUqR7Fy)")
    '#: bad request (#)'
    """
    return _VARYING.sub("#", _WHERE.sub(r"\1", message))


def causes(messages: Mapping[str, int]) -> list[Cause]:
    """Group failures by cause, the most frequent first.

    Parameters
    ----------
    messages
        Message → number of occurrences.
    """
    groups: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for message, number in messages.items():
        groups[same_cause(message)][message] += number
    found: list[Cause] = [
        {"cause": min(group), "count": group.total()} for group in groups.values()
    ]
    return sorted(found, key=lambda cause: (-cause["count"], cause["cause"]))


def causes_text(found: Iterable[Cause]) -> str:
    """Format causes in one line.

    >>> causes_text([{"cause": "NodeError: node 'solve': cannot connect", "count": 2}])
    "2 × node 'solve': cannot connect"
    """
    return "; ".join(
        f"{cause['count']} × {cause['cause'].removeprefix('NodeError: ')}" for cause in found
    )


def parse_max_errors(text: str) -> int | float:
    """Parse ``--max-errors``: ``20`` is a number of answers, ``0.1`` and ``10%`` are shares.

    Raises
    ------
    UsageError
        The text is neither.
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
            "--max-errors takes a number of answers such as 20, or a share of all answers such as "
            f"0.1 or 10%, not {shown(text)}"
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
    """Stops an evaluation with too many failures in this session.

    Raises
    ------
    UsageError
        ``max_errors`` is neither a number nor a share.
    """

    max_errors: MaxErrors
    num_runs: int
    """All requested answers, of which ``max_errors`` may be a share."""
    _num_failed: int = 0
    _since_success: Counter[str] = field(default_factory=Counter)
    """Cause → failures since the last success."""

    def __post_init__(self) -> None:
        if self.max_errors is not None and not _is_limit(self.max_errors):
            raise UsageError(
                "max_errors must be a number of answers (int) or a share from 0 to 1 (float), not "
                f"{shown(self.max_errors)}"
            )

    def note(self, error: str | None) -> None:
        """Count a finished answer; call this in the order of completion.

        Parameters
        ----------
        error
            Why it failed; None for a success.

        Raises
        ------
        TooManyErrorsError
            The limit is exceeded.
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
                reason = f"{CONSECUTIVE} answers in a row failed with the same cause"
                raise TooManyErrorsError(f"{reason}: {message}", cause=error)
        elif self._num_failed > self._allowed:
            answers = "1 answer" if self._num_failed == 1 else f"{self._num_failed} answers"
            reason = f"{answers} failed, more than max_errors allows ({self._limit})"
            raise TooManyErrorsError(f"{reason}; the last: {message}", cause=error)

    @property
    def _allowed(self) -> int:
        if isinstance(self.max_errors, float):
            return math.floor(self.max_errors * self.num_runs + 1e-9)
        return self.max_errors or 0

    @property
    def _limit(self) -> str:
        if isinstance(self.max_errors, float):
            return f"{100 * self.max_errors:g} % of {self.num_runs}"
        return str(self.max_errors)
