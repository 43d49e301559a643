"""Failed answers: which of them have the same cause, and when an evaluation stops for them."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypedDict

from archon.errors import TooManyErrorsError, UsageError
from archon.spec.messages import shown

CONSECUTIVE = 10
"""By default an evaluation stops at this many failures of one cause without a success between."""

MaxErrors = int | float | None
"""How many answers may fail before an evaluation stops: an integer is a number of answers, a float
a share of all answers; None stops at ``CONSECUTIVE`` failures of one cause in a row."""

_WHERE = re.compile(
    r"^(?:NodeError: |(ScoringError: ))?(?:(?:node|item) (?:'[^']*'|\"[^\"]*\"): )+"
)
"""Where it failed, before why."""
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
    """A text that is equal for messages that differ in node, item, numbers and addresses only.

    >>> same_cause("NodeError: node 'draft': LMError: no answer in 30.5 s (draw 3)")
    'LMError: no answer in # s (draw #)'
    >>> same_cause("400: bad request (req_011CSHoEeqs5C35K2UUqR7Fy)")
    '#: bad request (#)'
    """
    return _VARYING.sub("#", _WHERE.sub(r"\1", message))


def causes(messages: Mapping[str, int]) -> list[Cause]:
    """The causes of failures, the most frequent first.

    Parameters
    ----------
    messages
        Message → how often it occurred.
    """
    groups: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for message, number in messages.items():
        groups[same_cause(message)][message] += number
    found: list[Cause] = [
        {"cause": min(group), "count": group.total()} for group in groups.values()
    ]
    return sorted(found, key=lambda cause: (-cause["count"], cause["cause"]))


def causes_text(found: Iterable[Cause]) -> str:
    """Causes in one line.

    >>> causes_text([{"cause": "NodeError: node 'draft': cannot connect", "count": 2}])
    "2 × node 'draft': cannot connect"
    """
    return "; ".join(
        f"{cause['count']} × {cause['cause'].removeprefix('NodeError: ')}" for cause in found
    )


def parse_max_errors(text: str) -> int | float:
    """The limit in ``--max-errors``: ``20`` is a number of answers, ``0.1`` and ``10%`` are shares.

    Raises
    ------
    UsageError
        It is neither.
    """
    stripped = text.strip()
    try:
        if stripped.endswith("%"):
            limit: int | float = float(stripped[:-1]) / 100
        else:
            limit = int(stripped) if re.fullmatch(r"[+-]?\d+", stripped) else float(stripped)
    except ValueError:
        limit = -1
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
    """Stops an evaluation that fails too often. Failures of this session count.

    Raises
    ------
    UsageError
        ``max_errors`` is no limit.
    """

    max_errors: MaxErrors
    num_runs: int
    """All answers that are asked for, of which ``max_errors`` may be a share."""
    _num_failed: int = 0
    _since_success: Counter[str] = field(default_factory=Counter)
    """Cause → failures since the last success."""

    def __post_init__(self) -> None:
        if self.max_errors is not None and not _is_limit(self.max_errors):
            raise UsageError(
                "max_errors is a number of answers (int) or a share from 0 to 1 (float), not "
                f"{shown(self.max_errors)}"
            )

    def note(self, error: str | None) -> None:
        """Take note of a finished answer, in the order of completion.

        Parameters
        ----------
        error
            Why it failed; None if it did not.

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
        told = error.removeprefix("NodeError: ")
        if self.max_errors is None:
            if self._since_success[cause] >= CONSECUTIVE:
                reason = f"{CONSECUTIVE} answers in a row failed with the same cause"
                raise TooManyErrorsError(f"{reason}: {told}", cause=error)
        elif self._num_failed > self._allowed:
            answers = "1 answer" if self._num_failed == 1 else f"{self._num_failed} answers"
            reason = f"{answers} failed, more than max_errors allows ({self._limit})"
            raise TooManyErrorsError(f"{reason}; the last: {told}", cause=error)

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
