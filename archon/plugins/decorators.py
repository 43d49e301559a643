"""The decorators ``archon.node``, ``scorer``, ``prompt_template``, ``benchmark``, ``provider``.

Each registers a function or class under a name, which files, commands and Python programs can then
use like a shipped name. ``docs/guides/plugins.md`` has examples.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

from archon.errors import UsageError
from archon.plugins import registry
from archon.plugins.declarations import (
    BenchmarkPlugin,
    CountRule,
    NodePlugin,
    ProviderPlugin,
    ScorerPlugin,
    TemplatePlugin,
)
from archon.types import AnswerKind

F = TypeVar("F", bound=Callable[..., Any])

NODE_ARGUMENTS = ("candidates", "question", "parameters", "model", "node")
"""Names of the arguments that the function of a node can take."""
_KINDS: tuple[AnswerKind, ...] = typing.get_args(AnswerKind)
_PROMPT = "{question}\n\nBelow are candidate answers.\n\n{candidates}"
_WRITER_PROMPT = _PROMPT + "\n\n{ending}"
_GENERATOR_PROMPT = "{question}\n\n{ending}"


def node(
    name: str,
    *,
    parameters: type[BaseModel] | None = None,
    prompt: str | None = None,
    calls: CountRule = 1,
    shown: int | None = None,
    requires: Iterable[str] = ("chat",),
    needs_inputs: bool = True,
    effects: Sequence[Literal["writes", "replaces", "scores", "critiques", "values"]] = (),
    keeps: CountRule = None,
    reads: Sequence[Literal["critiques", "scores"]] = (),
) -> Callable[[F], F]:
    """Register a function or class as a node type.

    ::

        class Shortest(BaseModel):
            keep: int = Field(1, ge=1, description="Number of candidates to keep.")

        @archon.node("shortest", keeps="keep")
        def shortest(candidates, parameters: Shortest):
            return sorted(candidates, key=lambda c: len(c.text))[: parameters.keep]

    The function takes the arguments that it names: ``candidates`` (a list of ``Candidate``),
    ``question`` (a ``Question``), ``parameters`` (the validated keys of the node), ``model`` (which
    asks the node's model, see ``archon.graph.nodes.plugin.NodeModel``) and ``node`` (which makes
    annotations and candidates, see ``archon.graph.nodes.plugin.NodeTools``). It returns the
    candidates to pass on. A class has these arguments in its method ``run``; one object is made for
    each node, with ``parameters`` if ``__init__`` takes it.

    A function with a ``model`` argument must be async. Its nodes need the key ``model``, unless the
    argument has a default. A function without it may be async or not; the latter runs in a thread.

    Parameters
    ----------
    name
        The value of ``type`` in files.
    parameters
        A pydantic model of the node's further keys. By default, the annotation of the argument
        ``parameters``.
    prompt
        The default prompt of the node's model, with the placeholders ``{question}``,
        ``{candidates}``, ``{critiques}`` and ``{ending}`` (how to end, so that the answer can be
        read). A file can replace it with the key ``prompt``.
    calls
        Maximum number of calls of the model in one run, which estimates and budgets use: a number,
        the name of a parameter, or a function of (parameters, number of candidates). A node that
        makes more calls fails. For a node that writes candidates without a model, the maximum
        number of candidates that it writes.
    shown
        Number of candidates in each prompt, for estimates; by default all.
    requires
        Capabilities that the model must have (``archon.lm.base.CAPABILITIES``).
    needs_inputs
        False for a node that may stand at the start of a graph.
    effects
        What the node does, apart from passing on, sorting and dropping candidates. ``writes``: it
        writes new candidates. ``replaces``: it passes on none of those that it reads. ``scores``:
        it scores all candidates from 0 to 1. ``critiques``: it adds critiques. ``values``: it
        changes the values of candidates.
    keeps
        Maximum number of candidates that the node passes on, in the same form as ``calls``.
    reads
        Annotations that the candidates must have: ``critiques`` or ``scores``.

    Raises
    ------
    UsageError
        The name is used already, or the function has arguments that no node gets.
    """

    def register(code: F) -> F:
        noun = f"the node type {name!r}"
        function = _run_method(code, noun) if inspect.isclass(code) else code
        arguments = _arguments(function, noun)
        needs = _needs_model(arguments)
        if needs != "none" and not _is_async(function):
            raise UsageError(f"{noun}: a function with a model must be async (async def)")
        unknown = [each for each in effects if each not in typing.get_args(_Effect)]
        if unknown:
            raise UsageError(f"{noun}: unknown effect {unknown[0]!r}")
        default = _PROMPT if "writes" not in effects else _WRITER_PROMPT
        declaration = NodePlugin(
            name=name,
            code=code,
            description=_description(code),
            parameters=parameters or _annotated_parameters(code, function),
            model=needs,
            is_async=_is_async(function),
            passes=tuple(arguments),
            prompt=prompt or (default if needs_inputs else _GENERATOR_PROMPT),
            calls=calls,
            shown=shown,
            requires=frozenset(requires) if needs != "none" else frozenset(),
            needs_inputs=needs_inputs,
            writes="writes" in effects or "replaces" in effects,
            replaces="replaces" in effects,
            keeps=keeps,
            scores="scores" in effects,
            critiques="critiques" in effects,
            values="values" in effects,
            reads_critiques="critiques" in reads,
            reads_scores="scores" in reads,
        )
        registry.register("node", name, declaration, code)
        return code

    return register


_Effect = Literal["writes", "replaces", "scores", "critiques", "values"]


def scorer(
    name: str,
    *,
    answers: Sequence[AnswerKind] = _KINDS,
    parameters: type[BaseModel] | None = None,
) -> Callable[[F], F]:
    """Register a function as a scorer.

    ::

        @archon.scorer("mentions-target")
        def mentions_target(text, target):
            return target in text

    The function takes the arguments that it names: ``text``, ``target``, ``targets``, ``value``,
    ``question``, ``choices``, ``row``, ``trace`` and ``parameters``. It returns a number from 0 to
    1, True or False, or an ``archon.Score``. It may be async.

    Parameters
    ----------
    name
        The value of ``score`` in benchmark cards and of ``--scorer``.
    answers
        The kinds of answers that it scores; by default all.
    parameters
        A pydantic model of the scorer's parameters. By default, the annotation of the argument
        ``parameters``.

    Raises
    ------
    UsageError
        The name is used already, or a kind of answer does not exist.
    """

    def register(code: F) -> F:
        for kind in answers:
            if kind not in _KINDS:
                listed = ", ".join(_KINDS)
                raise UsageError(f"the scorer {name!r}: {kind!r} is none of {listed}")
        declaration = ScorerPlugin(
            name=name,
            description=_description(code),
            kinds=tuple(answers),
            parameters=parameters or _annotated_parameters(code, code),
        )
        registry.register("scorer", name, declaration, code)
        return code

    return register


def prompt_template(
    name: str,
    *,
    node: str = "generator",
    text: str | None = None,
    file: str | Path | None = None,
    description: str = "",
    asks_for_working: bool = True,
    asks_for_program: bool = False,
) -> Callable[[F], F]:
    """Register a wording of a node type's prompts.

    ::

        @archon.prompt_template("teacher")
        def teacher():
            \"\"\"Explain the way to the answer, as a teacher does.\"\"\"
            return "{question}\\n\\nExplain each step to a pupil. {ending}"

        archon.prompt_template("teacher", file=Path(__file__).with_name("teacher.txt"))

    With ``text`` or ``file``, the template is registered at once and nothing is decorated.

    Parameters
    ----------
    name
        The value of ``template`` in the ``prompt`` of a node.
    node
        The node type, or ``TYPE.METHOD`` for a method with its own templates, as listed by
        ``archon ls templates``.
    text, file
        The wording, or a UTF-8 file with it. It has the placeholders of the node type, such as
        ``{question}``, and may have ``{ending}``.
    description
        One sentence for lists; by default that of the function's docstring.
    asks_for_working
        Whether the replies of worked examples contain reasoning.
    asks_for_program
        Whether the reply is a program, to be run by a ``program`` node.

    Raises
    ------
    UsageError
        The name is used already, the node type does not exist, or the file cannot be read.
    """

    def add(wording: str, code: Any, summary: str) -> None:
        if not isinstance(wording, str) or not wording.strip():
            raise UsageError(f"the template {name!r} must be a text, not {wording!r}")
        declaration = TemplatePlugin(
            name=name,
            node=node,
            text=wording,
            description=summary,
            asks_for_working=asks_for_working,
            asks_for_program=asks_for_program,
        )
        registry.register("template", f"{node}/{name}", declaration, code)

    def register(code: F) -> F:
        add(code(), code, description or _description(code))
        return code

    if text is not None or file is not None:
        wording = text if text is not None else _read(Path(str(file)), name)
        add(wording, str(file) if file is not None else wording, description)
    return register


def benchmark(name: str, **options: Any) -> Callable[[F], F]:
    """Register a function that returns the rows of a benchmark.

    ::

        @archon.benchmark("doubles", answer="number")
        def doubles():
            \"\"\"Doubles of small numbers.\"\"\"
            for n in range(200):
                yield {"question": f"What is {n} + {n}?", "answer": 2 * n}

    Parameters
    ----------
    name
        The name for ``archon eval ARCH NAME``.
    options
        The keyword arguments of ``archon.PythonBenchmark``: ``description``, ``answer``, ``score``,
        ``examples``, ``answer_after`` and ``fields``.

    Raises
    ------
    UsageError
        The name is used already, or an option does not exist.
    """
    known = ("description", "answer", "score", "examples", "answer_after", "fields")
    for option in options:
        if option not in known:
            listed = ", ".join(known)
            raise UsageError(f"the benchmark {name!r} has no option {option!r}; it has {listed}")

    def register(code: F) -> F:
        description = str(options.get("description") or _description(code))
        declaration = BenchmarkPlugin(
            name=name, description=description, options={**options, "description": description}
        )
        registry.register("benchmark", name, declaration, code)
        return code

    return register


def provider(prefix: str, *, capabilities: Iterable[str] | None = None) -> Callable[[F], F]:
    """Register a prefix of model strings: ``prefix:NAME`` becomes a model.

    ::

        @archon.provider("house")
        def house(model):
            return {"base_urls": ["http://models.example/v1"], "model": model,
                    "api_key_env": "HOUSE_API_KEY"}

    The function receives the text after the colon. By default it returns the keys of the card of an
    OpenAI-compatible server. With ``capabilities`` it returns a model, that is an object that
    implements ``archon.LM``; it is then called when the model is first used.

    Parameters
    ----------
    prefix
        The text before the colon: letters, digits, ``-`` and ``_``; the first is a letter.
    capabilities
        Capabilities of the models that the function makes, such as ``("chat",)``
        (``archon.lm.base.CAPABILITIES``). None if it returns cards.

    Raises
    ------
    UsageError
        The prefix is used already or is invalid.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]+", prefix):
        raise UsageError(
            f"the provider {prefix!r}: a prefix has two or more letters, digits, '-' and '_', and "
            "begins with a letter"
        )

    def register(code: F) -> F:
        declaration = ProviderPlugin(
            prefix=prefix,
            description=_description(code),
            capabilities=None if capabilities is None else frozenset(capabilities),
        )
        registry.register("provider", prefix, declaration, code)
        return code

    return register


# ------------------------------------------------------------------------------------ inspection


def _description(code: Any) -> str:
    return (inspect.getdoc(code) or "").partition("\n\n")[0].replace("\n", " ")


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function)


def _run_method(code: Any, noun: str) -> Any:
    if not callable(getattr(code, "run", None)):
        raise UsageError(f"{noun}: the class needs a method run(self, candidates, ...)")
    return code.run


def _arguments(function: Any, noun: str) -> dict[str, inspect.Parameter]:
    """Return the arguments of a node's function by name, after checking that a node has them."""
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name == "self":
            continue
        is_named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if is_named and name in NODE_ARGUMENTS:
            found[name] = parameter
        elif not is_named or parameter.default is parameter.empty:
            listed = ", ".join(NODE_ARGUMENTS)
            raise UsageError(f"{noun}: no node has an argument {name!r}; it can take {listed}")
    return found


def _needs_model(
    arguments: dict[str, inspect.Parameter],
) -> Literal["none", "optional", "required"]:
    if "model" not in arguments:
        return "none"
    has_default = arguments["model"].default is not inspect.Parameter.empty
    return "optional" if has_default else "required"


def _annotated_parameters(code: Any, function: Any) -> type[BaseModel] | None:
    """Return the pydantic model that annotates the argument ``parameters``, if there is one."""
    for each in (function, code.__init__) if inspect.isclass(code) else (function,):
        try:
            annotation = typing.get_type_hints(each).get("parameters")
        except (NameError, TypeError):  # a name that is imported only for type checkers
            continue
        if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
            return annotation
    return None


def _read(path: Path, name: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the template {name!r}: cannot read {path}: {error}") from None
