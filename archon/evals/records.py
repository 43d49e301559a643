"""Records: the result of one item in one epoch, and its JSON form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from archon.spec.messages import json_path
from archon.types import Limit, Usage

VERSION = 1
"""Version of the format of records."""
Points = Annotated[int | float, Field(ge=0, le=1, allow_inf_nan=False)]
"""From 0 to 1. Only 1 is right; partial scores count in the mean score only."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One sample of a node, scored as if it were the answer."""

    value: str | None
    score: Points

    @property
    def is_right(self) -> bool:
        """True if the sample counts as right."""
        return self.score == 1


@dataclass(frozen=True, slots=True)
class Record:
    """The result of one item in one epoch."""

    specification: str
    """Digest of everything that determines the answer, except item and epoch."""
    item: str
    epoch: int
    question: str
    target: str
    text: str | None
    """The architecture's answer; None if it failed."""
    value: str | None
    score: Points
    explanation: str
    cost_tokens: int
    usage: Usage
    seconds: float
    error: str | None
    """Why it failed; None if there is an answer."""
    draws: Mapping[str, tuple[Draw, ...]] = field(default_factory=dict)
    """Node → its samples in order, for every node that writes candidates."""
    samples: int = 0
    """Requested samples, failed ones included; 0 if they were not counted."""
    failed_samples: int = 0
    """Failed samples; the answer uses the others."""
    limited_by: Limit | None = None
    """The budget that cut the answer short, if any."""
    notes: tuple[str, ...] = ()
    """Notes on how the answer was chosen, for example that no candidate states a number."""
    num_reasoning_cut_off: int = 0
    """Completions without an answer, as they ended within their reasoning."""
    version: int = VERSION

    @property
    def is_right(self) -> bool:
        """True if the answer counts as right."""
        return self.score == 1

    @property
    def has_no_value(self) -> bool:
        """True if there is an answer from which no value could be read."""
        return self.error is None and self.value is None

    @property
    def identity(self) -> tuple[str, str, int]:
        """Specification, item and epoch: unique in a run."""
        return (self.specification, self.item, self.epoch)

    def to_json(self) -> dict[str, Any]:
        """Return plain data; keys of times contain ``seconds``."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Record:
        """Make a record of the data of ``to_json``.

        Raises
        ------
        ValueError
            The data has another format, or an unknown version.
        """
        try:
            if data["version"] != VERSION:
                raise ValueError(f"unknown version of records: {data['version']}")
            return _RECORD.validate_python(data)
        except ValidationError as error:
            first = error.errors()[0]
            reason = f"{json_path(first['loc'])}: {first['msg'].lower()}"
            raise ValueError(f"not a record of an answer: {reason}") from None
        except (TypeError, KeyError) as error:
            raise ValueError(f"not a record of an answer: {error}") from None


_RECORD = TypeAdapter(Record)
