"""The answer of an architecture, and its HTML rendering for notebooks.

All text from models and users is escaped. The HTML has no scripts and no links to other sites.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape

from archon.graph.html import WRAPPED, folded, table
from archon.graph.trace import Trace
from archon.lm.compute import ModelUsage, total_compute
from archon.types import Candidate, Limit, Usage

_MAX_LENGTH = 300
"""Maximum characters of a candidate's text in the table; the answer itself is not shortened."""
_MAX_CANDIDATES = 20
_MAX_REPR = 80
"""Maximum characters of the text in the repr."""


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """The answer of an architecture: its output node's first candidate, and the run's trace."""

    text: str
    value: str | None
    candidates: tuple[Candidate, ...]
    """All candidates of the output node; the first one is the answer."""
    usage: Usage
    cost_tokens: int
    seconds: float
    trace: Trace
    limited_by: Limit | None = None
    """The limit of the budget that cut the run short (``"tokens"``, for example), or None."""
    notes: tuple[str, ...] = ()
    """Remarks on how the answer was chosen, for example that no candidate states a number."""
    num_samples: int = 0
    """Number of samples that the nodes requested."""
    num_failed_samples: int = 0
    """Number of samples that failed; the answer is based on the remaining samples."""
    usage_by_model: Mapping[str, ModelUsage] = field(default_factory=dict)
    """Name of each model → its usage and compute."""

    @property
    def compute(self) -> int | None:
        """Compute in FLOPs (``archon.lm.compute``); None if that of a model is unknown."""
        if self.usage.calls and not self.usage_by_model:
            return None
        return total_compute(usage.compute for usage in self.usage_by_model.values())

    def __repr__(self) -> str:
        text = " ".join(self.text.split())
        short = text if len(text) <= _MAX_REPR else text[: _MAX_REPR - 1] + "…"
        return (
            f"<Answer {short!r}: value {self.value!r}, {self.cost_tokens} tokens, "
            f"{self.usage.calls} calls, {self.seconds:.1f} s>"
        )

    def _repr_html_(self) -> str:
        """Return HTML for notebooks: the answer, and collapsed tables of candidates and nodes."""
        return _html(self)


def answer_from(candidates: tuple[Candidate, ...], trace: Trace) -> Answer:
    """Return the answer of a finished run: the first of the output node's candidates."""
    return Answer(
        text=candidates[0].text if candidates else "",
        value=candidates[0].value if candidates else None,
        candidates=candidates,
        usage=trace.usage,
        cost_tokens=trace.cost_tokens,
        seconds=trace.seconds,
        trace=trace,
        limited_by=trace.limited_by,
        notes=trace.notes,
        num_samples=trace.num_samples,
        num_failed_samples=trace.num_failed_samples,
        usage_by_model=trace.usage_by_model,
    )


def _html(answer: Answer) -> str:
    value = "none" if answer.value is None else answer.value
    parts = [
        f'<div><p style="{WRAPPED}">{escape(answer.text)}</p>',
        f"<p>value <b>{escape(value)}</b> · cost {answer.cost_tokens} tokens · "
        f"{answer.usage.calls} calls · {answer.seconds:.1f} s</p>",
    ]
    if answer.limited_by is not None:
        parts.append(f"<p>Cut short: the budget ran out of {escape(answer.limited_by)}.</p>")
    parts += [f"<p>{escape(note)}</p>" for note in answer.notes]
    shown = answer.candidates[:_MAX_CANDIDATES]
    if len(shown) > 1:
        count = len(answer.candidates)
        title = f"{count} candidates"
        if count > len(shown):
            title = f"first {len(shown)} of {title}"
        compared = ("sample", "value", "score", "text")
        parts.append(folded(title, table(compared, map(_candidate, shown))))
    nodes = (
        (
            node.node,
            node.type + (", bypassed" if node.bypassed else ""),
            str(len(node.outputs)),
            str(node.usage.calls),
            str(node.usage.completion_tokens),
            f"{node.seconds:.1f}",
        )
        for node in answer.trace.nodes.values()
    )
    headings = ("node", "type", "candidates", "calls", "completion tokens", "seconds")
    parts.append(folded("nodes", table(headings, nodes)))
    return "".join(parts) + "</div>"


def _candidate(candidate: Candidate) -> tuple[str, str, str, str]:
    text, score = candidate.text, candidate.score
    return (
        f"{candidate.id.node} {candidate.id.draw}",
        candidate.value or "",
        "" if score is None else f"{score:.3g}",
        text if len(text) <= _MAX_LENGTH else text[: _MAX_LENGTH - 1] + "…",
    )
