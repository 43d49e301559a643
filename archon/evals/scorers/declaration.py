"""Interface of scorers: declaration, attempt (the answer that is judged) and score."""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from archon.answers import read_answer, read_target
from archon.errors import ScoringError
from archon.spec.common import StrictModel
from archon.spec.messages import shown
from archon.spec.scoring import ScorerChoice
from archon.types import AnswerKind, Usage


@dataclass(frozen=True, slots=True)
class Score:
    """The score of one answer, with an explanation and further figures.

    ::

        def judge(text, target):
            return archon.Score(0.5, explanation="half of the steps", metrics={"steps": 4})
    """

    value: float
    """The score, from 0 to 1. Only 1 counts as right; other scores count only in the mean score."""
    answer: str | None = None
    """The value that was compared with the target; None if the answer states none."""
    explanation: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Name → a finite number. The report shows the mean of each."""
    metric_weights: Mapping[str, float] = field(default_factory=dict)
    """Name of a metric → weight of this answer in the metric's mean, above 0; by default 1. A share
    of several things has their number as its weight."""
    usage: Usage = field(default_factory=Usage)
    """What the scorer's models computed for this score. It is no part of the answer's cost."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """An answer to an item, as scorers see it."""

    text: str
    """The text of the answer, without reasoning."""
    target: str
    """The first accepted answer: a canonical value, or the text in the row if the scorer asks for
    it (``ScorerType.reads_row_targets``)."""
    value: str | None = None
    """The value of the answer. If None, scorers of values read it from the text."""
    targets: tuple[str, ...] = ()
    """All accepted answers, as the row writes them; by default only ``target``."""
    choices: tuple[str, ...] = ()
    """Texts of the choices, in the order of the row, to which letters of targets refer."""
    shown_choices: tuple[str, ...] = ()
    """The choices in the order in which the question shows them, to which the answer's letters
    refer."""
    question: str = ""
    item: str = ""
    """The item's id."""
    row: Mapping[str, Any] = field(default_factory=dict)
    """The other columns of the item's row."""
    trace: Any = field(default=None, compare=False, repr=False)
    """The trace of the architecture's run (``archon.graph.trace.Trace``); None if there is none."""
    seed: int = 0
    """Random seed of the evaluation, for scorers that ask a model."""

    def accepted(self, kind: AnswerKind) -> tuple[str, ...]:
        """Return all accepted answers as canonical values, without duplicates.

        The first is ``target``. Of the others, those without a value of this kind are omitted.
        """
        others = (read_target(text, kind) for text in self.targets[1:])
        return tuple(dict.fromkeys([self.target, *filter(None, others)]))

    @property
    def written_targets(self) -> tuple[str, ...]:
        """All accepted answers, as the row writes them."""
        return self.targets or (self.target,)

    def read(self, kind: AnswerKind) -> str | None:
        """Return the value of the answer or, if it is None, the one that the text states."""
        if self.value is not None:
            return self.value
        return read_answer(self.text, kind, choices=self.shown_choices)


Judgement = Score | Awaitable[Score]
Judge = Callable[[Attempt], Judgement]
"""The function of a scorer: an attempt → its score, or an awaitable of it."""


class NoParameters(StrictModel):
    """The parameters of a scorer that has none."""


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything of which a scorer is made, besides its declaration."""

    parameters: Any
    """The validated parameters: an instance of the declaration's ``parameters``."""
    kind: AnswerKind
    """The kind of the benchmark's answers."""
    base_dir: Path
    """The folder to which relative paths in the parameters refer."""
    allow_code_execution: bool = False
    """Whether the user allowed programs outside of the restricted sandbox."""
    lms: list[Any] = field(default_factory=list)
    """Takes the models (``archon.lm.lazy.LazyLM``) that the scorer asks."""


@dataclass(frozen=True, slots=True)
class ScorerType:
    """The declaration of a scorer, from which lists, schemas and scorers are made."""

    name: str
    description: str
    """One sentence for lists: when an answer is right, and what a partial score means."""
    kinds: tuple[AnswerKind, ...]
    """The kinds of answers that the scorer judges; the first is the usual one."""
    make: Callable[[Setup], Judge]
    """Makes the scorer's function."""
    parameters: type[StrictModel] = NoParameters
    shorthand: str | None = None
    """The parameter that follows a colon on the command line, as in ``number-close:0.01``."""
    aliases: tuple[str, ...] = ()
    """Other names of the scorer."""
    reads: Literal["value", "text"] = "value"
    """Whether the answer's value decides, or only its text."""
    reads_row_targets: bool = False
    """Whether targets stay as the row writes them, instead of becoming canonical values."""
    is_async: bool = False
    """Whether the scorer awaits a model or a process."""
    reads_row: bool = False
    """Whether the scorer reads other columns of the item's row, which then identify the item."""
    judges_samples: bool = True
    """Whether every sample is scored for pass@k. If False, only the answer is scored."""

    def described_parameters(self) -> list[dict[str, Any]]:
        """Return name, default and description of each parameter, as JSON data.

        A required parameter has no default.
        """
        return [
            {
                "name": name,
                "description": field.description,
                **({} if field.is_required() else {"default": field.default}),
            }
            for name, field in self.parameters.model_fields.items()
        ]


@dataclass(frozen=True, slots=True, eq=False)
class Scorer:
    """A scorer with its parameters, for the answers of one benchmark."""

    type: ScorerType
    kind: AnswerKind
    function: Judge
    label: str
    """The scorer's name in reports, such as ``number-close:0.01``."""
    parameters: Any = field(default_factory=NoParameters)
    lms: tuple[Any, ...] = ()
    """The models that the scorer asks; an evaluation opens and closes them with its own."""

    def to_card(self) -> ScorerChoice:
        """Return the scorer as a benchmark card names it; parameters with defaults are omitted."""
        values = self.parameters.model_dump(mode="json", exclude_unset=True)
        return {"name": self.type.name, **values} if values else self.type.name

    async def score(self, attempt: Attempt) -> Score:
        """Score an attempt, and check the result.

        Raises
        ------
        ScoringError
            The scorer fails, or the score is not a number from 0 to 1.
        """
        score = self.function(attempt)
        return self._checked(await score if inspect.isawaitable(score) else score)

    def __call__(self, value: str | None, text: str, target: str) -> Score:
        """Score an answer at once. The scorer must not be asynchronous.

        Raises
        ------
        ScoringError
            The scorer fails, or the score is not a number from 0 to 1.
        """
        assert not self.type.is_async, f"{self.label} must be awaited"
        score = self.function(Attempt(text, target, value))
        assert isinstance(score, Score)
        return self._checked(score)

    def _checked(self, score: Score) -> Score:
        points = as_points(score.value)
        if points is None:
            raise ScoringError(
                f"{self.label} must return a score from 0 to 1, not {shown(score.value)}"
            )
        metrics, weights = self._metrics(score.metrics), self._metrics(score.metric_weights)
        if not all(name in metrics and weight > 0 for name, weight in weights.items()):
            raise ScoringError(
                f"{self.label} must return weights above 0 of its metrics, not "
                f"{shown(score.metric_weights)}"
            )
        return replace(score, value=points, metrics=metrics, metric_weights=weights)

    def _metrics(self, given: Mapping[str, float]) -> dict[str, float]:
        try:
            metrics = {str(name): float(value) for name, value in dict(given).items()}
        except (TypeError, ValueError, OverflowError):
            metrics = {"": math.nan}
        if not all(map(math.isfinite, metrics.values())):
            raise ScoringError(
                f"{self.label} must return metrics that are finite numbers by name, not "
                f"{shown(given)}"
            )
        return metrics


def as_points(given: Any) -> float | None:
    """Convert a score to a number from 0 to 1 (0 and 1 as integers); None if it is invalid."""
    try:
        points = float(given)
    except (TypeError, ValueError, OverflowError):
        return None
    if isinstance(given, str | bytes) or not 0 <= points <= 1:
        return None
    return int(points) if points in (0, 1) else points


def compared(answer: str | None, is_equal: bool, targets: tuple[str, ...], none: str) -> Score:
    """Return the score of an answer that is either right or wrong, with an explanation.

    ``none`` is the explanation of an answer without a value.
    """
    if answer is None:
        return Score(0, None, none)
    if is_equal:
        return Score(1, answer, "equals the target")
    wanted = " or ".join(shown(target) for target in targets[:3])
    more = " or others" if len(targets) > 3 else ""
    return Score(0, answer, f"{shown(answer)} is not {wanted}{more}")
