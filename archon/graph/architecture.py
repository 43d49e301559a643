"""Runnable architectures: a graph with the models and prompts of its nodes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import replace
from html import escape
from pathlib import Path
from time import perf_counter
from typing import Any

from archon.errors import FileError, GraphError, SpecError, together
from archon.graph.answer import Answer, answer_from
from archon.graph.budget import Meter
from archon.graph.bypass import bypass
from archon.graph.event_loop import run_sync
from archon.graph.executor import Run, execute
from archon.graph.html import block, table
from archon.graph.model_bindings import Models, ModelUse, NestedLM
from archon.graph.nodes.base import GraphNode
from archon.graph.nodes.declaration import Setup
from archon.graph.nodes.registry import method_of, reads_of
from archon.graph.notes import advice
from archon.graph.prompts.builder import Prompt
from archon.graph.prompts.templates import PromptKind
from archon.graph.svg import svg
from archon.graph.trace import Trace
from archon.graph.validation.build import Graph, build
from archon.lm.base import LM
from archon.lm.embedding import EMBED, Embedder
from archon.lm.lazy import LazyLM
from archon.plugins.identity import plugin_digests
from archon.plugins.registry import Kind
from archon.reasoning import split_reasoning
from archon.spec.architecture import ArchitectureSpec, AskingNode
from archon.spec.common import PromptSpec
from archon.spec.encoding import without_marks
from archon.spec.messages import json_path
from archon.spec.model import ModelCard, PluginCard
from archon.tracing.spans import question_span, record_answer
from archon.types import (
    AnswerKind,
    Constraint,
    Event,
    Example,
    OnEvent,
    Question,
    SamplingParams,
)

_DEFAULT_PROMPT = PromptSpec.model_validate({})
BARE_PROMPT = PromptSpec.model_validate({"template": "bare"})


class Architecture:
    """A graph of language models that answers questions.

    Parameters
    ----------
    graph
        A valid graph (``archon.graph.validation.build``).
    lms
        Role → model, for every role that a node names.
    cards
        Role → the model's card; None if the model is a custom one or an architecture.
    base_dir
        The folder to which paths of exemplar pools are relative; by default the working folder.

    Raises
    ------
    GraphError
        A prompt or a node's sampling is invalid; the error names its JSON path.
    SpecError
        An exemplar pool cannot be read.

    If several prompts are invalid, the exception lists the errors of all of them.
    """

    def __init__(
        self,
        graph: Graph,
        lms: Mapping[str, LM],
        cards: Mapping[str, ModelCard | None],
        *,
        base_dir: Path | None = None,
    ) -> None:
        self._graph, self._lms, self._base_dir = graph, dict(lms), base_dir
        self._prompts, errors = build_prompts(graph.spec, lms, cards, base_dir)
        if errors:
            raise together(errors)
        self._nodes: dict[str, GraphNode] = {}
        for name, node in graph.spec.nodes.items():
            method, embedder = method_of(node), None
            if node.role is not None and method.requires == EMBED:
                embedder = _embedder(name, lms[node.role])
            self._nodes[name] = method.make(Setup(name, node, self._prompts.get(name), embedder))
        self.cards = dict(cards)
        """Role → the card of its model; None if the model is a custom one or an architecture."""
        self.models = Models(graph, lms, cards, self._prompts)
        self._uses = self.models.uses(SamplingParams())

    def __repr__(self) -> str:
        nodes = ", ".join(f"{name} ({node.type})" for name, node in self.spec.nodes.items())
        return f"<Architecture {self.name}: {nodes}>"

    def _repr_html_(self) -> str:
        """Return HTML for notebooks: the drawn graph and its models."""
        models = [
            (role, "custom" if card is None else card.name) for role, card in self.cards.items()
        ]
        text = f"<p>{escape(self.spec.description)}</p>" if self.spec.description else ""
        of_roles = table(("role", "model"), models) if models else ""
        return block(self.name, [text, svg(self.graph), of_roles])

    @property
    def name(self) -> str:
        """The architecture's name, from its file."""
        return self._graph.spec.name

    @property
    def graph(self) -> Graph:
        """The validated graph."""
        return self._graph

    @property
    def base_dir(self) -> Path | None:
        """The folder that relative paths in the file start at; None if it was made in Python."""
        return self._base_dir

    @property
    def spec(self) -> ArchitectureSpec:
        """The parsed contents of the architecture's file."""
        return self._graph.spec

    def prompt(self, node: str) -> Prompt:
        """Return a node's prompt. The node must be one that asks a model for text."""
        return self._prompts[node]

    def specification(
        self, answer: AnswerKind, examples: tuple[Example, ...] | None, ending: bool = True
    ) -> dict[str, Any]:
        """Return everything that determines an answer, except the question and seed, as plain data.

        All names are resolved: cards, nested architectures, texts of prompts. A server is asked
        for the name of its model if the card has none. A custom model is null, because its settings
        are unknown.

        Parameters
        ----------
        answer
            The kind of answer that the question asks for.
        examples
            The benchmark's exemplars; None if the benchmark names no pool.
        ending
            Whether prompts ask for an ending (``Question.ending``).
        """
        models: dict[str, Any] = {}
        for role, lm in self._lms.items():
            card = lm.settled_card() if isinstance(lm, LazyLM) else self.cards.get(role)
            if isinstance(lm, NestedLM):
                models[role] = lm.specification(answer, examples, ending)
            else:
                models[role] = None if card is None else _card_data(card)
        return {
            "architecture": self.spec.model_dump(mode="json"),
            **self._plugin_digests(),
            "models": models,
            "prompts": {
                node: prompt.specification(answer, examples, ending)
                for node, prompt in self._prompts.items()
            },
        }

    def _plugin_digests(self) -> dict[str, dict[str, str]]:
        """Return the digests of the plug-ins whose code determines an answer; none if none do.

        The texts of their templates are part of the prompts, and their servers of the cards.
        """
        names: list[tuple[Kind, str]] = [("node", node.type) for node in self.spec.nodes.values()]
        for card in self.cards.values():
            names += [("provider", card.provider)] if isinstance(card, PluginCard) else []
        return plugin_digests(names)

    def weights_digests(self, opened: Collection[str] = ()) -> dict[str, str]:
        """Return the digests of the weights of open local models, by role.

        The roles of an architecture that is a model follow the role of that model and a dot.

        Parameters
        ----------
        opened
            Roles whose models to open if they are not open.

        Raises
        ------
        ModelError
            A model cannot be opened.
        """
        found: dict[str, str] = {}
        for role, lm in self._lms.items():
            if isinstance(lm, NestedLM):
                start = f"{role}."
                inner = [name.removeprefix(start) for name in opened if name.startswith(start)]
                found |= {
                    start + name: digest for name, digest in lm.weights_digests(inner).items()
                }
            elif isinstance(lm, LazyLM):
                digest = lm.weights_digest(opens=role in opened)
                found |= {} if digest is None else {role: digest}
        return found

    def without(self, node: str) -> Architecture:
        """Return a copy of the architecture with one node bypassed (``archon.graph.bypass``).

        Raises
        ------
        GraphError
            The architecture has no node of this name, or the remaining graph is invalid.
        """
        spec = bypass(self.spec, node)
        capabilities = {role: lm.capabilities for role, lm in self._lms.items()}
        return Architecture(
            build(spec, capabilities), self._lms, self.cards, base_dir=self._base_dir
        )

    def check_examples(self, examples: tuple[Example, ...] | None) -> None:
        """Check that a benchmark's exemplar pool has enough examples for every node's ``shots``.

        Raises
        ------
        GraphError
            The pool is too small. The error names the node, its ``shots`` and the pool's size.
        """
        for name, prompt in self._prompts.items():
            try:
                prompt.check_shots(examples)
            except GraphError as error:
                raise GraphError(error.reason, path=_prompt_path(name)) from None

    async def answer(
        self,
        question: Question,
        *,
        seed: int = 0,
        run: int = 0,
        on_event: OnEvent | None = None,
        uses: Mapping[str, ModelUse] | None = None,
        constraint: Constraint | None = None,
        around: Meter | None = None,
    ) -> Answer:
        """Answer a question.

        Parameters
        ----------
        seed
            Random seed of the samples.
        run
            Number of the run (epoch); each run uses new samples.
        on_event
            Called in the event loop's thread when a node starts, when it finishes, and for new
            tokens.
        uses
            The nodes' models and sampling parameters, if a request to the architecture as an LM
            changes them.
        constraint
            The constraint on the output node's text, from a request to the architecture as an LM.
        around
            The meter of the outer graph, if this architecture is a node's model.

        Raises
        ------
        NodeError
            A node failed.
        BudgetError
            Tokens, calls or seconds ran out before any node produced a candidate.
        """
        spec, start = self._graph.spec, perf_counter()
        trace = Trace(spec.name, _normalized(question), seed, run, spec.output)
        meter = Meter(spec.budget, around)
        uses = self._uses if uses is None else uses
        state = Run(uses, constraint, on_event, meter, trace, start)
        with question_span(spec.name, trace.question) as span:
            candidates = tuple(await execute(self._graph, self._nodes, state))
            trace.seconds = perf_counter() - start
            answer = answer_from(candidates, trace)
            record_answer(span, answer.text, answer.usage, answer.cost_tokens)
            return answer

    async def arun(self, question: str | Question, *, seed: int = 0) -> Answer:
        """Answer a question: a string, or a ``Question`` with history, options and examples.

        If the answer lacks a value, its notes say how to ask for another type of answer.
        """
        asked = self._question(question)
        answer = await self.answer(asked, seed=seed)
        hint = advice(answer.value, asked.answer)
        return answer if hint is None else replace(answer, notes=(*answer.notes, hint))

    def run(self, question: str | Question, *, seed: int = 0) -> Answer:
        """Run ``arun`` from synchronous code, and wait for the answer.

        If the caller runs in an event loop, the loop is blocked until the answer is available.
        """
        return run_sync(self.arun(question, seed=seed))

    async def astream(
        self, question: str | Question, *, seed: int = 0
    ) -> AsyncIterator[Event | Answer]:
        """Yield the events of a run as they happen, then the ``Answer``.

        Closing the iterator early cancels the run.
        """
        events: asyncio.Queue[Event | None] = asyncio.Queue()
        answering = asyncio.create_task(
            self.answer(self._question(question), seed=seed, on_event=events.put_nowait)
        )
        answering.add_done_callback(lambda _: events.put_nowait(None))
        try:
            while (event := await events.get()) is not None:
                yield event
            yield await answering
        finally:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)

    def _question(self, question: str | Question) -> Question:
        if isinstance(question, Question):
            return question
        return Question(question, answer=self._graph.spec.answer)


def _card_data(card: ModelCard) -> dict[str, Any]:
    """Return the keys of a card that may change an answer."""
    return card.model_dump(mode="json", exclude={"parameters"})


def _embedder(name: str, lm: LM) -> Embedder:
    if not isinstance(lm, Embedder):
        path = json_path(["nodes", name, "model"])
        raise GraphError("the model is not a sentence encoder", path=path)
    return lm


def _normalized(question: Question) -> Question:
    """Remove byte-order marks, and remove the reasoning from the assistant's earlier turns.

    Chat templates remove the reasoning too, but not if a judge's prompt quotes those turns.
    """
    history = tuple(
        replace(
            message,
            content=split_reasoning(without_marks(message.content)).answer
            if message.role == "assistant"
            else without_marks(message.content),
        )
        for message in question.history
    )
    return replace(question, text=without_marks(question.text), history=history)


def build_prompts(
    spec: ArchitectureSpec,
    lms: Mapping[str, LM],
    cards: Mapping[str, ModelCard | None],
    base_dir: Path | None,
) -> tuple[dict[str, Prompt], list[FileError]]:
    """Return the prompts of the nodes that ask a model, and an error for each invalid prompt.

    Roles whose model could not be loaded may be missing from ``lms`` and ``cards``.
    """
    prompts: dict[str, Prompt] = {}
    errors: list[FileError] = []
    for name, node, role in spec.asking_nodes():
        kind = method_of(node).prompt
        if kind is None:
            continue
        wording = _prompt_spec(node, kind, cards.get(role), isinstance(lms.get(role), NestedLM))
        try:
            prompts[name] = _build_prompt(name, node, kind, wording, base_dir)
        except FileError as error:
            errors.append(error)
    return prompts, errors


def _prompt_spec(
    node: AskingNode, kind: PromptKind, card: ModelCard | None, is_nested: bool
) -> PromptSpec:
    """Return a node's prompt spec: the node's own, else its model card's, else the default.

    A card's prompt is for answering the question, so judges do not use it. By default, a nested
    architecture receives the bare question, because its nodes have their own prompts.
    """
    own = node.prompt
    if not kind.puts_question:
        return own or _DEFAULT_PROMPT
    if is_nested and own is None:
        return BARE_PROMPT
    return generator_prompt(own, card)


def generator_prompt(own: PromptSpec | None, card: ModelCard | None) -> PromptSpec:
    """Return a generator's prompt: ``own``, else its model card's, else the default.

    If ``own`` has neither ``template`` nor ``text``, for example only ``shots``, the card's
    wording is used.
    """
    of_card = (card and card.prompt) or _DEFAULT_PROMPT
    if own is None:
        return of_card
    if own.template is None and own.text is None:
        return own.model_copy(update={"template": of_card.template, "text": of_card.text})
    return own


def _build_prompt(
    name: str, node: AskingNode, kind: PromptKind, spec: PromptSpec, base_dir: Path | None
) -> Prompt:
    has_own_pool = node.prompt is not None and node.prompt.examples is not None
    path = _prompt_path(name)
    try:
        return Prompt(
            spec,
            kind,
            reads_candidates=bool(node.inputs),
            shows=reads_of(node).shows,
            base_dir=base_dir,
        )
    except GraphError as error:
        raise GraphError(error.reason, path=path) from None
    except SpecError as error:
        place = f"{path}.examples" if has_own_pool else json_path(["nodes", name, "model"])
        raise error.referenced_by(None, place) from None


def _prompt_path(node: str) -> str:
    return json_path(["nodes", node, "prompt"])
