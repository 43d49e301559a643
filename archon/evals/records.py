"""The records of a run. Each contains the result of one item in one epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from archon.lm.compute import ModelUsage, total_compute
from archon.spec.messages import json_path
from archon.types import Limit, Usage

VERSION = 1
"""Version of the JSON format of records."""
LATER_FIELDS = frozenset(
    {
        "other_scores",
        "explanations",
        "scorer_errors",
        "metrics",
        "metric_weights",
        "scoring_usage",
        "targets",
        "choices",
        "metadata",
        "usage_by_model",
        "compute",
    }
)
"""Fields that are newer than the format. A record that does not use them is written as before."""
Points = Annotated[int | float, Field(ge=0, le=1, allow_inf_nan=False)]
"""A score from 0 to 1. Only 1 counts as right; other scores count only in the mean score."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One sample of a node, scored as if it were the architecture's answer."""

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
    """Digest of everything that determines an answer, except the item and epoch."""
    item: str
    epoch: int
    question: str
    target: str
    text: str | None
    """The text of the architecture's answer; None if it failed."""
    value: str | None
    score: Points
    explanation: str
    cost_tokens: int
    usage: Usage
    seconds: float
    error: str | None
    """The message of the error that prevented an answer; None if there is an answer."""
    draws: Mapping[str, tuple[Draw, ...]] = field(default_factory=dict)
    """Node → its samples in order, for every node that wrote candidates."""
    samples: int = 0
    """Number of requested samples, including failed ones; 0 if they were not counted."""
    failed_samples: int = 0
    """Number of failed samples; the answer is based on the remaining samples."""
    limited_by: Limit | None = None
    """The limit of the budget that cut the answer short, or None."""
    notes: tuple[str, ...] = ()
    """Notes on how the answer was chosen, for example that no candidate states a number."""
    num_reasoning_cut_off: int = 0
    """Number of completions that have no answer because they ended during their reasoning."""
    other_scores: Mapping[str, Points] = field(default_factory=dict)
    """Scorer → its score, for the scorers after the first."""
    explanations: Mapping[str, str] = field(default_factory=dict)
    """Scorer → its explanation, for the scorers after the first."""
    scorer_errors: Mapping[str, str] = field(default_factory=dict)
    """Scorer after the first → the error that prevented its score."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Name → a figure that a scorer returned with its score."""
    metric_weights: Mapping[str, float] = field(default_factory=dict)
    """Name of a figure → weight of this answer in its mean; by default 1."""
    scoring_usage: Usage = field(default_factory=Usage)
    """Usage of the scorers' models. It is no part of ``usage`` and ``cost_tokens``."""
    targets: tuple[str, ...] = ()
    """All accepted answers, as the row writes them, or the texts of the right options; empty if
    there is one."""
    choices: tuple[str, ...] = ()
    """The options of the question, in the order in which it showed them."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """The other columns of the item's row."""
    usage_by_model: Mapping[str, ModelUsage] = field(default_factory=dict)
    """Name of each model → its usage and compute; empty for records of earlier versions."""
    compute: int | None = None
    """Compute of the answer in FLOPs; None if that of a model is unknown."""
    version: int = VERSION

    @property
    def is_right(self) -> bool:
        """True if the answer counts as right."""
        return self.score == 1

    @property
    def prompt_compute(self) -> int | None:
        """The part of ``compute`` for reading prompts."""
        return total_compute(usage.prompt_compute for usage in self.usage_by_model.values())

    @property
    def has_no_value(self) -> bool:
        """True if there is an answer, but no value could be read from it."""
        return self.error is None and self.value is None

    @property
    def identity(self) -> tuple[str, str, int]:
        """The specification's digest, the item and the epoch, which identify an answer."""
        return (self.specification, self.item, self.epoch)

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain data. The keys of all times contain ``seconds``.

        Fields in ``LATER_FIELDS`` are omitted if they are empty.
        """
        data = asdict(self)
        if self.scoring_usage == Usage():
            data["scoring_usage"] = None
        return {name: value for name, value in data.items() if value or name not in LATER_FIELDS}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Record:
        """Make a record from the data that ``to_json`` returned.

        Raises
        ------
        ValueError
            The data has another format or an unknown version.
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
