"""Convert the rows of a table to items, as the fields of a card describe them."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

from archon.answers import read_target
from archon.answers.numerals import sole_number
from archon.errors import SpecError
from archon.evals.benchmarks import choices as row_choices
from archon.evals.benchmarks.items import Item
from archon.evals.benchmarks.plain import is_missing, plain
from archon.evals.benchmarks.tables import Row
from archon.spec.benchmark import BenchmarkBase, ItemFields
from archon.spec.encoding import without_marks
from archon.spec.messages import shown, suggestion
from archon.types import AnswerKind
from archon.warn_once import warn_once

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]+)\}")
_MAX_LIST_CELL = 1 << 20
_LISTS_OF_ANSWERS = ("value", "aliases", "text")
"""Keys of an object with accepted answers, as data sets of questions and answers have them."""


class _NoTargetError(SpecError):
    """No target can be read from the answer of a row."""


def items_from_rows(
    rows: Iterable[Row], card: BenchmarkBase, *, canonical_targets: bool = True
) -> list[Item]:
    """Convert the rows of a table to items.

    Parameters
    ----------
    canonical_targets
        Whether to convert targets to canonical values. If False, the text in the row is kept.

    Raises
    ------
    SpecError
        A field is missing, is empty or has the wrong type, no target can be read from the answer,
        or the answers do not name choices of their rows.
    """
    rows = list(rows)
    if card.fields.choices is not None and card.fields.answer_as is None:
        how = row_choices.answers_are([choice_row(row, card.fields) for row in rows])
        fields = card.fields.model_copy(update={"answer_as": how})
        card = card.model_copy(update={"fields": fields})
    items = []
    for row in rows:
        try:
            items.append(item_from_row(row, card, canonical_target=canonical_targets))
        except _NoTargetError:
            if not card.skip_unreadable:
                raise
    if skipped := len(rows) - len(items):
        counts = f"{skipped:,} of {len(rows):,} rows are left out"
        warn_once(f"{card.name}: {counts}, because no {card.answer} can be read from their answers")
    return items


def item_from_row(row: Row, card: BenchmarkBase, *, canonical_target: bool = True) -> Item:
    """Convert one row to an item; see ``items_from_rows``."""
    fields, values, place = card.fields, row.values, row.place
    question = _question(values, fields, place)
    item_id = (
        row.id if fields.id is None else _text(field(values, fields.id, place), fields.id, place)
    )
    named = place if fields.id is None else f"{place}: item {shown(item_id)}"
    metadata = _other_columns(values, fields)
    if card.answer == "code":  # tests in a cell of a CSV file may be written as a list
        metadata = {name: _members(v, numbers=False) or v for name, v in metadata.items()}
    if fields.choices is not None:
        offered = choice_row(row, fields)
        letters = row_choices.right_letters(offered, fields.answer_as or "letter")
        return Item(item_id, question, letters[0], metadata, letters, offered.texts)
    texts = [_stated(text, card) for text in _answers(values, card, place)]
    target = texts[0]
    if canonical_target:
        canonical = [_target(text, card, named) for text in _answers(values, card, place)]
        target = canonical[0]
    return Item(item_id, question, target, metadata, tuple(dict.fromkeys(texts)))


def choice_row(row: Row, fields: ItemFields) -> row_choices.ChoiceRow:
    """Return the choices of a row, with the answer that names the right one.

    Raises
    ------
    SpecError
        A field is missing, or the row has no choices.
    """
    assert fields.choices is not None
    if isinstance(fields.choices, list):
        columns = [field(row.values, name, row.place) for name in fields.choices]
        while columns and is_missing(columns[-1]):
            columns.pop()
        offered: Any = columns
    else:
        offered = field(row.values, fields.choices, row.place)
        offered = _members(offered) or offered
    answer = field(row.values, fields.answer, row.place)
    if is_missing(answer):
        raise SpecError(f"the {shown(fields.answer)} field is empty", file=row.place)
    return row_choices.choice_row(offered, _members(answer) or answer, row.place)


def field(values: Mapping[str, Any], name: str, place: str) -> Any:
    """Return the value of a field: a column or, in nested data, a path such as ``choices.text``.

    Raises
    ------
    SpecError
        The row has no such field.
    """
    if name in values:
        return values[name]
    found: Any = values
    for part in name.split("."):
        if isinstance(found, Mapping) and part in found:
            found = found[part]
        elif isinstance(found, list) and part.isdecimal() and int(part) < len(found):
            found = found[int(part)]
        else:
            reason = f"the row has no {shown(name)} field{suggestion(name, values)}"
            raise SpecError(reason, file=place)
    return found


def _question(values: Mapping[str, Any], fields: ItemFields, place: str) -> str:
    if fields.question_template is None:
        return _text(field(values, fields.question, place), fields.question, place)
    text = _filled(fields.question_template, values, place)
    if not text:
        raise SpecError("the question is empty", file=place)
    return text


def _filled(template: str, values: Mapping[str, Any], place: str) -> str:
    """Return a template with the fields of a row. Missing values are empty; lists become lines."""

    def part(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0][0]
        value = field(values, match[1], place)
        value = _members(value) or value
        members = value if isinstance(value, list) else [value]
        return "\n".join(
            _text(member, match[1], place) for member in members if not is_missing(member)
        )

    return _PLACEHOLDER.sub(part, template).strip()


def _text(value: Any, name: str, place: str, *, is_answer: bool = False) -> str:
    """Return a cell as text, without white space at its ends."""
    if is_missing(value):
        raise SpecError(f"the {shown(name)} field is empty", file=place)
    if isinstance(value, bool) and is_answer:
        return "true" if value else "false"
    if isinstance(value, bool) or not isinstance(value, str | Real):
        reason = f"the {shown(name)} field must be a string or a number, not {shown(value)}"
        raise SpecError(reason, file=place)
    return without_marks(str(value)).strip()


# ---------------------------------------------------------------------------------------- answers


def _answers(values: Mapping[str, Any], card: BenchmarkBase, place: str) -> list[str]:
    """Return the texts of all accepted answers in a row."""
    name = card.fields.answer
    return answer_texts(field(values, name, place), card.answer, name, place)


def answer_texts(value: Any, kind: AnswerKind, name: str, place: str) -> list[str]:
    """Return the texts of all accepted answers in a cell.

    Parameters
    ----------
    name
        The name of the field, for error messages.

    Raises
    ------
    SpecError
        The cell is empty, or contains something else than texts and numbers.
    """
    if kind == "json":
        return [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)]
    if isinstance(value, Mapping):
        value = [
            v for key in _LISTS_OF_ANSWERS if key in value for v in _as_list(value[key])
        ] or value
    members = _members(value, numbers=kind == "number")
    if members is None:
        return [_text(value, name, place, is_answer=kind != "number")]
    texts = [_text(member, name, place, is_answer=kind != "number") for member in members]
    if not texts:
        raise SpecError(f"the {shown(name)} field is empty", file=place)
    return ["\n".join(texts)] if kind == "code" else texts


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _members(value: Any, *, numbers: bool = True) -> list[Any] | None:
    """Return the members of a list, also of one that is written in a cell; None for other values.

    A cell may contain a list of texts in the notation of JSON or Python and, if ``numbers`` is
    true, one of numbers. Other text in brackets, such as an interval, is not a list.
    """
    if isinstance(value, list | tuple):
        return list(value)
    if not isinstance(value, str) or len(value) > _MAX_LIST_CELL:
        return None
    text = value.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        kinds = (str, int, float) if numbers else (str,)
        is_list = isinstance(found, list) and found and all(isinstance(v, kinds) for v in found)
        return found if is_list else None
    return None


def _stated(answer: str, card: BenchmarkBase) -> str:
    """Return the part of a row's answer after ``answer_after`` and before ``answer_before``."""
    if card.answer_after:
        answer = answer.rpartition(card.answer_after)[2].strip()
    return answer.partition(card.answer_before)[0].strip() if card.answer_before else answer


def _target(answer: str, card: BenchmarkBase, place: str) -> str:
    """Return the canonical value of a row's answer; raise ``SpecError`` if it has none."""
    is_number = card.answer == "number"
    stated = _stated(answer, card)
    if is_number and card.answer_after and card.answer_after not in answer:
        target = sole_number(answer)
        if target is None:
            reason = f"the answer {shown(answer)} neither contains {shown(card.answer_after)}"
            reason += " nor is a single number"
            raise _NoTargetError(reason, file=place)
        return target
    target = read_target(stated, card.answer)
    if target is None:
        reason = f"no {card.answer} can be read from {shown(stated)}"
        raise _NoTargetError(
            f"{reason}{_HINT.format(score=card.score)}" if is_number else reason, file=place
        )
    return target


_HINT = (
    "; {score} needs a target that is one number; compare other targets as text, with "
    "'answer': 'text' and 'score': 'text-exact' in the benchmark"
)


def _other_columns(values: Mapping[str, Any], fields: ItemFields) -> dict[str, Any]:
    """Return the columns that are not the question, the answer, the choices or the id."""
    listed = fields.choices if isinstance(fields.choices, list) else [fields.choices]
    used: set[str | None] = {fields.id, fields.answer, *listed}
    used |= set() if fields.question_template else {fields.question}
    columns = {name: plain(value) for name, value in values.items() if name not in used}
    return {name: value for name, value in columns.items() if value is not None}


def columns_read(fields: ItemFields) -> Sequence[str]:
    """Return the fields that every row needs, in the order of the question, answer and choices."""
    template = fields.question_template
    names = [fields.question] if template is None else _PLACEHOLDER.findall(template)
    names += [fields.answer]
    names += fields.choices if isinstance(fields.choices, list) else [fields.choices or ""]
    return [name for name in [*names, fields.id or ""] if name]
