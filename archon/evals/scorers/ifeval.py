"""``ifeval``: texts that follow the verifiable instructions of their prompt (IFEval).

The item's row names the instructions (``instruction_id_list``) and their arguments (``kwargs``).
``instructions.py`` checks them.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any

from archon.errors import ScoringError
from archon.evals.scorers.declaration import Attempt, Score, ScorerType
from archon.evals.scorers.instructions import follows, loose_variants
from archon.spec.messages import shown

_INSTRUCTIONS, _ARGUMENTS = "instruction_id_list", "kwargs"
_MAX_SHOWN = 200


def _judge(attempt: Attempt) -> Score:
    instructions = _instructions(attempt.row)
    strict = [follows(attempt.text, name, values) for name, values in instructions]
    variants = loose_variants(attempt.text)
    loose = [
        is_strict or any(follows(text, name, values) for text in variants)
        for is_strict, (name, values) in zip(strict, instructions, strict=True)
    ]
    total = len(instructions)
    figures = {
        "prompt_loose": all(loose),
        "instruction_strict": sum(strict) / total,
        "instruction_loose": sum(loose) / total,
    }
    missed = [name for (name, _), ok in zip(instructions, strict, strict=True) if not ok]
    reason = f"follows {sum(strict)} of {total} instructions"
    return Score(
        int(not missed),
        attempt.text[:_MAX_SHOWN] or None,
        f"{reason}; not {', '.join(missed)}" if missed else reason,
        figures,
        metric_weights={"instruction_strict": total, "instruction_loose": total},
    )


def _instructions(row: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the instructions of a row, with their arguments."""
    names, arguments = _listed(row, _INSTRUCTIONS), _listed(row, _ARGUMENTS)
    if len(names) != len(arguments):
        counts = f"{len(names)} members, but {_ARGUMENTS!r} has {len(arguments)}"
        raise ScoringError(f"the row's {_INSTRUCTIONS!r} has {counts}")
    for values in arguments:
        if not isinstance(values, Mapping):
            raise ScoringError(f"a member of {_ARGUMENTS!r} must be an object, not {shown(values)}")
    return list(zip(map(str, names), arguments, strict=True))


def _listed(row: Mapping[str, Any], column: str) -> list[Any]:
    """Return the members of a column; a cell of a CSV file has them as JSON."""
    value = row.get(column)
    if isinstance(value, str):
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(value)
    if not isinstance(value, list) or not value:
        columns = ", ".join(row) or "none"
        raise ScoringError(
            f"the row needs a list in the column {column!r}; its other columns are {columns}"
        )
    return value


SCORER_TYPES = (
    ScorerType(
        name="ifeval",
        description="Right if the text follows all instructions of its row, strictly; IFEval's "
        "other accuracies are metrics.",
        kinds=("text",),
        make=lambda setup: _judge,
        reads="text",
        reads_row_targets=True,
        reads_row=True,
    ),
)
