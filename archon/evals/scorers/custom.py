"""Custom scorers: Python functions of an answer and its item."""

from __future__ import annotations

import functools
import inspect
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from archon.errors import ScoringError, SpecError
from archon.evals.scorers.declaration import (
    Attempt,
    Judge,
    Score,
    Scorer,
    ScorerType,
    as_points,
)
from archon.evals.user_code import label, place, summary
from archon.plugins.declarations import ScorerPlugin
from archon.plugins.registry import Registration
from archon.spec.common import StrictModel
from archon.spec.messages import shown, suggestion
from archon.types import AnswerKind

ScoreFunction = Callable[..., Any]
"""A function of an answer's text, the target and further parts (``PARTS``); it may be async."""

PARTS: Mapping[str, Callable[[Attempt], Any]] = {
    "text": lambda attempt: attempt.text,
    "target": lambda attempt: attempt.written_targets[0],
    "targets": lambda attempt: attempt.written_targets,
    "value": lambda attempt: attempt.value,
    "question": lambda attempt: attempt.question,
    "choices": lambda attempt: attempt.choices,
    "row": lambda attempt: attempt.row,
    "trace": lambda attempt: attempt.trace,
}
"""Name of a parameter → the part of the attempt that it receives."""


def custom_scorer(function: ScoreFunction, kind: AnswerKind, *, by_name: bool = False) -> Scorer:
    """Make a scorer from a user's function.

    The function's parameters receive the parts of the answer and its item after which they are
    named (``PARTS``). A function of two parameters with other names receives the answer's text and
    the target as the row writes it, and so does one of ``value`` and ``target`` unless ``by_name``
    is true. The function may be async.

    The function returns a number from 0 to 1, or True or False, or a ``Score``. Only an answer that
    scores 1 is right; other scores count only in the mean score. The scorer raises ``ScoringError``
    if the function fails or returns anything else. Text that the function prints goes to standard
    error.

    Raises
    ------
    SpecError
        The function has a parameter that names no part.
    """
    arguments = _arguments(function, by_name=by_name)
    is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object with an async __call__
    )

    def judge(attempt: Attempt) -> Score:
        positional, named = arguments(attempt)
        try:
            with _standard_error:
                given = function(*positional, **named)
        except (Exception, SystemExit) as error:  # a function that exits must not end the run
            raise _failure(function, error) from error
        return _score(function, given, attempt, kind)

    async def judge_async(attempt: Attempt) -> Score:
        positional, named = arguments(attempt)
        try:
            with _standard_error:
                given = await function(*positional, **named)
        except (Exception, SystemExit) as error:
            raise _failure(function, error) from error
        return _score(function, given, attempt, kind)

    chosen: Judge = judge_async if is_async else judge
    declaration = ScorerType(
        name=label(function),
        description=(inspect.getdoc(function) or "").partition("\n")[0],
        kinds=(kind,),
        make=lambda setup: chosen,
        reads="text",
        reads_row_targets=True,
        reads_row=_reads_row(function),
        is_async=is_async,
        judges_samples=not is_async,
    )
    return Scorer(declaration, kind, chosen, declaration.name)


def plugin_scorer_type(registration: Registration) -> ScorerType:
    """Return the declaration of a scorer that a plug-in has registered.

    Its function is called like that of a custom scorer, with the argument ``parameters`` if it has
    one.

    Raises
    ------
    SpecError
        The function has a parameter that names no part of the answer.
    """
    plugin: ScorerPlugin = registration.declaration
    function = registration.code
    kinds = cast(tuple[AnswerKind, ...], plugin.kinds)
    bases = (StrictModel,) if plugin.parameters is None else (plugin.parameters, StrictModel)
    parameters: type[StrictModel] = type("PluginParameters", bases, {"__module__": __name__})
    names = list(parameters.model_fields)
    probe = custom_scorer(_with_parameters(function, None), kinds[0], by_name=True).type
    return replace(
        probe,
        name=plugin.name,
        description=plugin.description,
        kinds=kinds,
        make=lambda setup: (
            custom_scorer(
                _with_parameters(function, setup.parameters), setup.kind, by_name=True
            ).function
        ),
        parameters=parameters,
        shorthand=names[0] if len(names) == 1 else None,
    )


def _with_parameters(function: ScoreFunction, parameters: Any) -> ScoreFunction:
    """Bind the argument ``parameters`` of a function, if it has one."""
    try:
        takes = "parameters" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # a built-in function
        takes = False
    if not takes:
        return function
    bound: Any = functools.partial(function, parameters=parameters)
    for name in ("__module__", "__qualname__", "__doc__", "__code__"):  # for messages
        if hasattr(function, name):
            setattr(bound, name, getattr(function, name))
    return cast(ScoreFunction, bound)


def _arguments(
    function: ScoreFunction, *, by_name: bool
) -> Callable[[Attempt], tuple[list[Any], dict[str, Any]]]:
    """Return a function: attempt → the positional and the named arguments of a user's function."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # a built-in function
        return _text_and_target
    if _is_pair(parameters) and not (by_name and any(p.name == "value" for p in parameters)):
        return _text_and_target
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    free = [part for part in ("text", "target") if all(p.name != part for p in named)]
    names: dict[str, str] = {}
    for parameter in named:
        if parameter.name in PARTS:
            names[parameter.name] = parameter.name
        elif parameter.default is parameter.empty:
            if not free or parameter.kind is parameter.KEYWORD_ONLY:
                reason = f"the scorer has a parameter {shown(parameter.name)} that names no part "
                reason += f"of the answer or its item; the parts are {', '.join(PARTS)}"
                raise SpecError(reason + suggestion(parameter.name, PARTS), file=label(function))
            names[parameter.name] = free.pop(0)
    return lambda attempt: ([], {name: PARTS[part](attempt) for name, part in names.items()})


def _reads_row(function: ScoreFunction) -> bool:
    try:
        return "row" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # a built-in function
        return False


def _text_and_target(attempt: Attempt) -> tuple[list[Any], dict[str, Any]]:
    return [attempt.text, attempt.written_targets[0]], {}


def _is_pair(parameters: Sequence[inspect.Parameter]) -> bool:
    """Return whether a function takes the text and the target as its first two arguments.

    This was once the only form of a scorer, so the names of two parameters do not matter.
    """
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return True
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p.name for p in places if p.default is p.empty]
    new = PARTS.keys() - {"text", "target", "value"}
    uses_new = any(p.name in new for p in parameters)
    return len(required) == 2 and not uses_new and required != ["target", "text"]


class _StandardError:
    """Sends the output of users' functions to standard error while at least one of them runs.

    Async functions overlap, so each cannot restore the standard output that it found.
    """

    def __init__(self) -> None:
        self._lock, self._running, self._stdout = threading.Lock(), 0, sys.stdout

    def __enter__(self) -> None:
        with self._lock:
            if not self._running:
                self._stdout, sys.stdout = sys.stdout, sys.stderr
            self._running += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._running -= 1
            if not self._running:
                sys.stdout = self._stdout


_standard_error = _StandardError()


def _failure(function: ScoreFunction, error: BaseException) -> ScoringError:
    where = place(error) or label(function)
    return ScoringError(f"{where}: {summary(error)}")


def _score(function: ScoreFunction, given: Any, attempt: Attempt, kind: AnswerKind) -> Score:
    """Convert what a user's function returned to a score."""
    score = given if isinstance(given, Score) else Score(given)
    points = as_points(score.value)
    if points is None:
        raise ScoringError(
            f"{label(function)} must return a number from 0 to 1, not {shown(score.value)}"
        )
    answer = attempt.read(kind) if score.answer is None else score.answer
    explanation = score.explanation or f"scored {points:g}; 1 is right"
    return replace(score, value=points, answer=answer, explanation=explanation)
