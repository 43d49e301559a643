"""An answer as a piece of HTML, for notebooks: the text, its rivals, what each node cost.

Everything that a model or a user said is escaped; there are no scripts and no outside addresses.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from archon.types import Candidate

if TYPE_CHECKING:
    from archon.graph.architecture import Answer

_MAX_LENGTH = 300
"""Characters of a candidate's text; the answer itself is shown whole."""
_MAX_CANDIDATES = 20
_WRAPPED = "white-space:pre-wrap;text-align:left"


def answer_html(answer: Answer) -> str:
    """The answer, the other candidates folded away, and the nodes with their calls and seconds."""
    value = "none" if answer.value is None else answer.value
    parts = [
        f'<div><p style="{_WRAPPED}">{escape(answer.text)}</p>',
        f"<p>value <b>{escape(value)}</b> · {answer.cost_tokens} tokens of cost · "
        f"{answer.usage.calls} calls · {answer.seconds:.1f} s</p>",
    ]
    if answer.limited_by is not None:
        parts.append(f"<p>The budget had too few {escape(answer.limited_by)}.</p>")
    parts += [f"<p>{escape(note)}</p>" for note in answer.notes]
    shown = answer.candidates[:_MAX_CANDIDATES]
    if len(shown) > 1:
        count = len(answer.candidates)
        title = f"{count} candidates" + (f", the first {len(shown)}" if count > len(shown) else "")
        compared = ("from", "value", "score", "text")
        parts.append(_folded(title, compared, map(_candidate, shown)))
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
    columns = ("node", "type", "candidates", "calls", "new tokens", "seconds")
    parts.append(_folded("nodes", columns, nodes))
    return "".join(parts) + "</div>"


def _candidate(candidate: Candidate) -> tuple[str, str, str, str]:
    text, score = candidate.text, candidate.score
    return (
        f"{candidate.id.node} {candidate.id.draw}",
        candidate.value or "",
        "" if score is None else f"{score:.3g}",
        text if len(text) <= _MAX_LENGTH else text[: _MAX_LENGTH - 1] + "…",
    )


def _folded(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_WRAPPED}">{escape(cell)}</td>' for cell in row) + "</tr>"
        for row in rows
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<details><summary>{escape(title)}</summary>{table}</details>"
