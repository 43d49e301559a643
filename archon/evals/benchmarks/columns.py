"""Find the columns of the user's own data: question, target, choices and id.

The user names columns, or common names are recognized. If several columns could be the question or
the target, the user has to choose: a guess might measure something else than was meant.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_lowercase

from archon.answers.numerals import sole_number
from archon.errors import SpecError
from archon.evals.benchmarks import choices as row_choices
from archon.evals.benchmarks.plain import is_missing
from archon.evals.benchmarks.rows import answer_texts, choice_row, field
from archon.evals.benchmarks.tables import Row, column_names
from archon.spec.benchmark import ItemFields
from archon.spec.messages import shown, suggestion
from archon.types import AnswerKind

MARK = "####"
"""The mark in front of the answer in data sets like GSM8K."""

# Names without case and punctuation. A column of the first group is preferred to one of the second.
_QUESTIONS = (
    "question prompt problem query questiontext problemtext",
    "input instruction text task user usermessage goal ctx sentence stem body userprompt inputs",
)
_TARGETS = (
    "answer target label gold expected correct correctanswer expectedanswer expectedoutput "
    "finalanswer finalans groundtruth reference referenceanswer answerkey goldanswer goldlabel",
    "solution output response completion answers targets labels correctoption correctchoice cop "
    "result value rightanswer answeridx answerindex outputs ideal class",
)
_CHOICES = ("choices options", "endings alternatives candidates answerchoices")
_IDS = (
    "id qid index idx uid uuid questionid problemid itemid sampleid exampleid taskid uniqueid key"
)
_CHOICE_COLUMNS = re.compile(
    r"(?:(?:option|choice|answer|op|opt|ending|sol)[ _.-]?)?([a-z]|\d{1,2})", re.IGNORECASE
)


@dataclass(frozen=True)
class Columns:
    """The columns that the user named, and the kind of answer; None where it is to be detected."""

    question: str | None = None
    target: str | None = None
    id: str | None = None
    choices: str | None = None
    """One column with lists, or several columns with commas between their names."""
    answer: AnswerKind | None = None

    @property
    def named(self) -> bool:
        """True if the user named a column."""
        return any((self.question, self.target, self.id, self.choices))


@dataclass(frozen=True)
class Found:
    """The columns of a table."""

    fields: ItemFields
    answer: AnswerKind
    answer_after: str | None
    """The mark in front of the target, such as ``####``; None if there is none."""

    @property
    def note(self) -> str:
        """One line that names the columns and the kind of answer."""
        fields = self.fields
        named = [f"question: column {fields.question!r}", f"target: column {fields.answer!r}"]
        if self.answer_after:
            named[1] += f" after {self.answer_after!r}"
        if fields.answer_as == "index":
            named[1] += ", the index of a choice from 0"
        elif fields.answer_as == "number":
            named[1] += ", the number of a choice from 1"
        elif fields.answer_as is not None:
            named[1] += f", the {fields.answer_as} of a choice"
        if isinstance(fields.choices, list):
            named.append(f"choices: columns {', '.join(map(repr, fields.choices))}")
        elif fields.choices is not None:
            named.append(f"choices: column {fields.choices!r}")
        if fields.id is not None:
            named.append(f"id: column {fields.id!r}")
        return "; ".join([*named, f"answers: {self.answer}"])


def find_columns(rows: Sequence[Row], wanted: Columns, file: str) -> Found:
    """Find the columns of a table and the kind of its answers.

    Without a kind from the user, it is ``choice`` if there are choices, ``number`` if every target
    is a number, and ``text`` otherwise.

    Raises
    ------
    SpecError
        A named column does not exist; or no column, or several, could be the question or the
        target. The error lists the columns.
    """
    names = column_names(rows)
    taken = [wanted.question, wanted.target, wanted.id, *_split(wanted.choices)]
    free = [name for name in names if name not in [_named(t, names, file) for t in taken if t]]
    choices = _choices(wanted, names, free, file)
    free = [n for n in free if n != choices and not (isinstance(choices, list) and n in choices)]
    question = _column("question", wanted.question, _QUESTIONS, names, free, file)
    free = [name for name in free if name != question]
    target = _column("target", wanted.target, _TARGETS, names, free, file)
    item_id = _named(wanted.id, names, file) if wanted.id else _id(rows, free)
    fields = ItemFields(question=question, answer=target, choices=choices, id=item_id)
    if choices is not None:
        how = row_choices.answers_are([choice_row(row, fields) for row in rows])
        fields = fields.model_copy(update={"answer_as": how})
        return Found(fields, wanted.answer or "choice", None)
    kind, mark = _kind(rows, target, wanted.answer)
    return Found(fields, kind, mark)


def with_columns(fields: ItemFields, wanted: Columns, rows: Sequence[Row], file: str) -> ItemFields:
    """Return a card's fields with the columns that the user named.

    Raises
    ------
    SpecError
        A named column does not exist.
    """
    names = column_names(rows)
    changes: dict[str, object] = {}
    if wanted.question:
        changes |= {"question": _named(wanted.question, names, file), "question_template": None}
    if wanted.target:
        changes["answer"] = _named(wanted.target, names, file)
    if wanted.id:
        changes["id"] = _named(wanted.id, names, file)
    if wanted.choices:
        listed = [_named(name, names, file) for name in _split(wanted.choices)]
        changes |= {"choices": listed if len(listed) > 1 else listed[0], "answer_as": None}
    return fields.model_copy(update=changes)


def _split(choices: str | None) -> list[str]:
    return [name.strip() for name in choices.split(",") if name.strip()] if choices else []


def _named(name: str, names: Sequence[str], file: str) -> str:
    """Return the column that a user named, if need be ignoring case; or a path in nested data."""
    for key in (str, str.casefold):
        found = [each for each in names if key(each) == key(name)]
        if len(found) == 1:
            return found[0]
    if name.partition(".")[0] in names:
        return name
    raise SpecError(f"there is no column {shown(name)}{suggestion(name, names)}", file=file)


def _column(
    role: str,
    wanted: str | None,
    groups: Sequence[str],
    names: Sequence[str],
    free: Sequence[str],
    file: str,
) -> str:
    if wanted:
        return _named(wanted, names, file)
    for group in groups:
        found = _matching(group, free)
        if len(found) == 1:
            return found[0]
        if found:
            listed = " or ".join(map(shown, found))
            raise SpecError(
                f"the {role} could be the column {listed}; choose one with --{role}", file=file
            )
    listed = ", ".join(map(shown, names)) or "none"
    reason = f"no column is recognized as the {role}; name it with --{role}"
    raise SpecError(f"{reason}. The columns are: {listed}", file=file)


def _matching(group: str, names: Sequence[str]) -> list[str]:
    known = group.split()
    return [name for name in names if re.sub(r"[\W_]", "", name).lower() in known]


def _choices(
    wanted: Columns, names: Sequence[str], free: Sequence[str], file: str
) -> str | list[str] | None:
    if wanted.choices:
        listed = [_named(name, names, file) for name in _split(wanted.choices)]
        return listed if len(listed) > 1 else listed[0]
    if wanted.answer not in (None, "choice"):
        return None
    for group in _CHOICES:
        found = _matching(group, free)
        if len(found) == 1:
            return found[0]
    return _choice_columns(free)


def _choice_columns(names: Sequence[str]) -> list[str] | None:
    """Return columns such as A, B, C, D or option_1, option_2, or None if there are none."""
    series: dict[tuple[str, bool], list[str]] = {}
    for name in names:
        match = _CHOICE_COLUMNS.fullmatch(name.strip())
        if match is not None:
            series.setdefault((name[: match.start(1)], match[1].isdecimal()), []).append(name)
    for (prefix, is_number), found in series.items():
        ends = [name[len(prefix) :].strip().lower() for name in found]
        if _is_series(ends) and (prefix or not is_number):
            return found
    return None


def _is_series(ends: Sequence[str]) -> bool:
    """Return whether these are a, b, c and so on, or numbers that follow each other from 0 or 1."""
    letters = list(ascii_lowercase[: len(ends)])
    numbers = [[str(first + n) for n in range(len(ends))] for first in (0, 1)]
    return len(ends) >= 2 and list(ends) in (letters, *numbers)


def _id(rows: Sequence[Row], names: Sequence[str]) -> str | None:
    """Return the column with an id in every row that no other row has."""
    for known in _IDS.split():
        for name in _matching(known, names):
            values = [row.values.get(name) for row in rows]
            texts = {str(value).strip() for value in values if isinstance(value, str | int)}
            if len(texts) == len(rows) and not any(map(is_missing, values)):
                return name
    return None


def _kind(
    rows: Sequence[Row], target: str, wanted: AnswerKind | None
) -> tuple[AnswerKind, str | None]:
    """Return the kind of the targets, and the mark in front of them or None."""
    texts = []
    for row in rows:
        value = field(row.values, target, row.place)
        texts += (
            answer_texts(value, wanted or "number", target, row.place)
            if not isinstance(value, bool)
            else ["true"]
        )
    stated = texts
    mark = None
    if wanted in (None, "number") and all(MARK in text for text in texts):
        mark, stated = MARK, [text.rpartition(MARK)[2] for text in texts]
    if wanted is not None:
        return wanted, mark
    is_number = all(sole_number(text) is not None for text in stated)
    return ("number", mark) if is_number else ("text", None)
