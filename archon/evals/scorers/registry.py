"""All scorers by name, and the scorers of a benchmark."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from archon.errors import SpecError, UsageError
from archon.evals.scorers import (
    choice,
    code,
    exact,
    ifeval,
    inspect_ai,
    judge,
    lm_eval,
    math_equal,
    number_close,
    regex,
    texts,
)
from archon.evals.scorers.custom import custom_scorer, plugin_scorer_type
from archon.evals.scorers.declaration import Scorer, ScorerType, Setup
from archon.evals.user_code import import_named, names_code
from archon.plugins import lookup, registry
from archon.plugins.registry import Registration
from archon.spec.benchmark import BenchmarkBase
from archon.spec.messages import shown, suggestion
from archon.spec.scoring import ScorerChoice, scorer_name
from archon.spec.validation import parse
from archon.types import AnswerKind

SCORERS: Mapping[str, ScorerType] = {
    scorer.name: scorer
    for scorer in (
        *exact.SCORER_TYPES,
        *number_close.SCORER_TYPES,
        *math_equal.SCORER_TYPES,
        *choice.SCORER_TYPES,
        *texts.SCORER_TYPES,
        *regex.SCORER_TYPES,
        *code.SCORER_TYPES,
        *judge.SCORER_TYPES,
        *ifeval.SCORER_TYPES,
        *lm_eval.SCORER_TYPES,
        *inspect_ai.SCORER_TYPES,
    )
}
"""Name → declaration."""
KINDS: Mapping[str, AnswerKind] = {name: scorer.kinds[0] for name, scorer in SCORERS.items()}
"""Scorer → the kind of answers that it usually judges."""
DEFAULT_SCORERS: Mapping[AnswerKind, str] = {
    "number": "number-exact",
    "text": "text-exact",
    "choice": "choice",
    "math": "math",
    "code": "code",
    "json": "json",
}
"""Kind of answer → the scorer of a card that names none."""
_ALIASES = {alias: name for name, scorer in SCORERS.items() for alias in scorer.aliases}

GivenScorer = ScorerChoice | Callable[..., Any]
"""A scorer that a user chooses: a name, a name with a parameter (``number-close:0.01``), an object
as in a card, ``file.py:function``, a function, or a ``Scorer``."""
ScorerOption = GivenScorer | Sequence[GivenScorer] | None
"""The scorers that a user chooses in place of the benchmark's; None for the benchmark's."""


def default_scorer(kind: AnswerKind) -> str:
    """Return the name of the scorer of a card that names none."""
    return DEFAULT_SCORERS[kind]


def scorers_given(option: ScorerOption) -> list[GivenScorer]:
    """Return the chosen scorers as a list, which is empty if the benchmark's own are used."""
    if option is None:
        return []
    return list(option) if isinstance(option, list | tuple) else [option]  # type: ignore[list-item]


def find_scorer(
    card: BenchmarkBase, file: str | None = None, name: GivenScorer | None = None
) -> Scorer:
    """Return the scorer called ``name`` or, if that is None, the benchmark card's first scorer.

    Parameters
    ----------
    file
        The card's file, for error messages.
    name
        The scorer that the user chose; None uses the card's.

    Raises
    ------
    SpecError
        The card's scorer does not exist, has invalid parameters, or does not judge the card's kind
        of answer.
    UsageError
        The same for the scorer ``name``.
    """
    return find_scorers(card, file, [] if name is None else [name])[0]


def find_scorers(
    card: BenchmarkBase,
    file: str | None = None,
    given: Sequence[GivenScorer] = (),
    *,
    base_dir: Path | None = None,
    allow_code_execution: bool = False,
) -> list[Scorer]:
    """Return the scorers that a user chose or, without any, those of the card.

    Parameters
    ----------
    base_dir
        The folder to which paths in the card's parameters are relative.
    allow_code_execution
        Whether the user allowed programs outside of the restricted sandbox.

    Raises
    ------
    SpecError, UsageError
        See ``find_scorer``. Two scorers have the same name and parameters.
    """
    if given:
        folder, is_card = Path.cwd(), False
        choices: Sequence[GivenScorer] = given
    else:
        folder, is_card = base_dir or Path.cwd(), True
        choices = card_scorers(card)
    found: list[Scorer] = []
    for index, choice_ in enumerate(choices):
        path = f"$.score[{index}]" if isinstance(card.score, list) else "$.score"
        try:
            scorer = _scorer(choice_, card.answer, folder, is_card, allow_code_execution)
            if any(scorer.label == other.label for other in found):
                raise _ChoiceError(f"the scorer {shown(scorer.label)} is named twice")
        except _ChoiceError as error:
            if not is_card:
                raise UsageError(str(error)) from None
            raise SpecError(str(error), file=file, path=path + error.path) from None
        found.append(scorer)
    return found


def plain_scorer(name: str) -> Scorer:
    """Return a scorer with its default parameters, for its usual kind of answers.

    Raises
    ------
    UsageError
        The scorer does not exist, or needs parameters.
    """
    declaration = _declaration(name)
    kind = "number" if declaration is None else declaration.kinds[0]
    try:
        return _scorer(name, kind, Path.cwd(), is_card=True, allows_code=False)
    except _ChoiceError as error:
        raise UsageError(str(error)) from None


def chosen_scorers(
    card: BenchmarkBase,
    file: str | None,
    option: ScorerOption,
    custom: Callable[..., Any] | None,
    *,
    base_dir: Path,
    allow_code_execution: bool,
) -> list[Scorer]:
    """Return the scorers of an evaluation: the user's, else a Python benchmark's, else the card's.

    Parameters
    ----------
    option
        The scorers that the user chose.
    custom
        The scoring function of a Python benchmark.
    """
    given = scorers_given(option) or ([] if custom is None else [custom])
    return find_scorers(
        card, file, given, base_dir=base_dir, allow_code_execution=allow_code_execution
    )


def with_scorers(card: BenchmarkBase, scorers: Sequence[Scorer]) -> BenchmarkBase:
    """Return the card with these scorers, by their canonical names and with their parameters."""
    chosen = [scorer.to_card() for scorer in scorers]
    return card.model_copy(update={"score": chosen[0] if len(chosen) == 1 else chosen})


def need_canonical_targets(scorers: Sequence[Scorer]) -> bool:
    """Return whether a scorer compares with canonical values of the targets."""
    return not all(scorer.type.reads_row_targets for scorer in scorers)


def card_scorers(card: BenchmarkBase) -> list[ScorerChoice]:
    """Return the scorers of a card; a card that names none has the usual one for its answers."""
    if "score" not in card.model_fields_set:
        return [default_scorer(card.answer)]
    return list(card.score) if isinstance(card.score, list) else [card.score]


class _ChoiceError(Exception):
    """A scorer cannot be made; ``path`` is the JSON path of the error below the scorer."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.path = path


def _scorer(
    given: GivenScorer, kind: AnswerKind, folder: Path, is_card: bool, allows_code: bool
) -> Scorer:
    if isinstance(given, Scorer):
        return given
    if callable(given):
        return custom_scorer(given, kind)
    if isinstance(given, str) and not is_card:
        if given.startswith("{"):
            given = _object(given)
        elif _declaration(given.partition(":")[0]) is None and names_code(given):
            return custom_scorer(import_named(given), kind)
        elif ":" in given and _declaration(given) is None:
            given = _with_shorthand(given)
    name = scorer_name(given)
    declaration = _declaration(name)
    if declaration is None:
        hint = suggestion(name, [*SCORERS, *_ALIASES, *registry.names("scorer")])
        if is_card and names_code(name):
            hint = "; a card cannot name code, but --score can"
        raise _ChoiceError(f"unknown scorer {shown(name)}{hint}")
    if kind not in declaration.kinds:
        judged = " or ".join(declaration.kinds)
        raise _ChoiceError(f"{name} judges a {judged}, but the card's 'answer' is {kind!r}")
    values = (
        {key: value for key, value in given.items() if key != "name"}
        if isinstance(given, dict)
        else {}
    )
    setup = Setup(_parameters(declaration, values), kind, folder, allows_code)
    function, label = declaration.make(setup), _label(declaration, values)
    return Scorer(declaration, kind, function, label, setup.parameters, tuple(setup.lms))


def _declaration(name: str) -> ScorerType | None:
    """Return the declaration of a shipped scorer, or else of a plug-in's; None if there is none."""
    shipped = SCORERS.get(_ALIASES.get(name, name))
    if shipped is not None or not name or names_code(name) or name.startswith("{"):
        return shipped
    registration = lookup.find("scorer", name)
    return None if registration is None else _of_plugin(registration)


@cache
def _of_plugin(registration: Registration) -> ScorerType:
    return plugin_scorer_type(registration)


def plugin_scorers() -> list[tuple[Registration, ScorerType]]:
    """Return the scorers of all plug-ins."""
    return [(each, _of_plugin(each)) for each in lookup.all_of("scorer")]


def shipped_scorers() -> frozenset[str]:
    """Return the names and aliases of the scorers that Archon ships."""
    return frozenset({*SCORERS, *_ALIASES})


def _object(text: str) -> dict[str, Any]:
    """Parse a scorer that is given as a JSON object on the command line."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _ChoiceError(f"the scorer {shown(text)} is not valid JSON: {error}") from None
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise _ChoiceError(f"the scorer {shown(text)} has no 'name'")
    return value


def _with_shorthand(text: str) -> ScorerChoice:
    """Convert ``number-close:0.01`` to an object; return other texts unchanged."""
    name, _, value = text.partition(":")
    declaration = _declaration(name)
    if declaration is None:
        return text
    if declaration.shorthand is None:
        raise _ChoiceError(f"{name} has no parameter, so nothing can follow {shown(name + ':')}")
    field = declaration.parameters.model_fields[declaration.shorthand]
    if field.annotation in (float, int):
        try:
            number = field.annotation(value)
        except ValueError:
            noun = "a number" if field.annotation is float else "an integer"
            raise _ChoiceError(f"{name}: must be followed by {noun}, not {shown(value)}") from None
        return {"name": name, declaration.shorthand: number}
    return {"name": name, declaration.shorthand: value}


def _parameters(declaration: ScorerType, values: Mapping[str, Any]) -> Any:
    try:
        return parse(declaration.parameters, dict(values))
    except SpecError as error:
        first = error.errors[0]
        path = (first.path or "$").removeprefix("$")
        raise _ChoiceError(
            f"{declaration.name}: {path.lstrip('.')}: {first.reason}", path
        ) from None


def scorer_label(choice_: ScorerChoice | Sequence[ScorerChoice]) -> str:
    """Return the label of the first scorer that a card or a stored run names."""
    first = choice_ if isinstance(choice_, str | dict) else choice_[0]
    name = scorer_name(first)
    declaration = _declaration(name)
    if declaration is None or not isinstance(first, dict):
        return name
    return _label(declaration, {key: value for key, value in first.items() if key != "name"})


def _label(declaration: ScorerType, values: Mapping[str, Any]) -> str:
    """Return the name of a scorer with the parameters that the user set."""
    if not values:
        return declaration.name
    if declaration.shorthand is not None and list(values) == [declaration.shorthand]:
        value = values[declaration.shorthand]
        if isinstance(value, str | int | float):
            text = f"{value:g}" if isinstance(value, float) else str(value)
            return f"{declaration.name}:{text[:60]}"
    listed = ",".join(
        f"{name}={value if isinstance(value, str) else json.dumps(value)}"[:60]
        for name, value in values.items()
        if name != "rubric"
    )
    return f"{declaration.name}:{listed}" if listed else declaration.name
