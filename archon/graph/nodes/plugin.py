"""Node types from plug-ins: their declarations, and the interface of their functions to a run."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from archon import answers
from archon.errors import ArchonError, UsageError
from archon.graph.candidates import from_completions
from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.declaration import (
    Calls,
    Effects,
    Method,
    NodeType,
    Reads,
    Reason,
    Setup,
    set_parameters,
)
from archon.graph.prompts.builder import Prompt
from archon.graph.prompts.templates import PromptKind, Template
from archon.plugins.declarations import NodePlugin, count_of
from archon.plugins.registry import Registration
from archon.plugins.user_code import place, summary
from archon.spec.messages import shown
from archon.spec.plugin_nodes import node_spec
from archon.types import (
    Annotation,
    Candidate,
    CandidateId,
    Completion,
    Message,
    Question,
    VerdictKind,
)


class NodeTools:
    """The argument ``node`` of a plug-in's function: makes annotations and candidates."""

    def __init__(self, name: str, question: Question) -> None:
        self.name = name
        """The node's id in the architecture."""
        self._question, self.num_written = question, 0

    def score(self, candidate: Candidate, score: float, reason: str = "") -> Candidate:
        """Return the candidate with a score, usually from 0 to 1."""
        return candidate.annotated(Annotation(self.name, "score", float(score), reason))

    def critique(self, candidate: Candidate, text: str) -> Candidate:
        """Return the candidate with a critique, which later nodes can show to their models."""
        return candidate.annotated(Annotation(self.name, "critique", text))

    def verdict(self, candidate: Candidate, verdict: VerdictKind, reason: str = "") -> Candidate:
        """Return the candidate with a verdict: ``pass``, ``fail`` or ``abstain``."""
        return candidate.annotated(Annotation(self.name, "verdict", verdict, reason))

    def candidate(self, text: str, parents: Sequence[Candidate] = ()) -> Candidate:
        """Return a new candidate that is written without a model.

        Its value is read from the text. The node type must have the effect ``writes``.
        """
        value = answers.read_answer(text, self._question.answer, choices=self._question.choices)
        self.num_written += 1
        return Candidate(
            CandidateId(self.name, self.num_written - 1),
            text,
            value,
            tuple(parent.id for parent in parents),
        )


class NodeModel:
    """The argument ``model`` of a plug-in's function: asks the node's model.

    The prompt of a call is a text, a sequence of ``Message``, or by default the node's own prompt,
    which shows the candidates. A text is preceded by the earlier turns of the question.
    """

    def __init__(
        self,
        plugin: NodePlugin,
        context: NodeContext,
        tools: NodeTools,
        prompt: Prompt,
        candidates: Sequence[Candidate],
        max_calls: int,
    ) -> None:
        self._plugin, self._context, self._tools = plugin, context, tools
        self._prompt, self._candidates, self._max_calls = prompt, candidates, max_calls
        self._num_calls, self._num_samples = 0, 0

    def messages(self, candidates: Sequence[Candidate] | None = None) -> tuple[Message, ...]:
        """Return the messages of the node's own prompt, for these candidates or by default all."""
        shown_ = self._candidates if candidates is None else candidates
        return self._prompt.messages(self._context.question, shown_)

    async def ask(
        self,
        prompt: str | Sequence[Message] | None = None,
        *,
        candidates: Sequence[Candidate] | None = None,
        choices: Sequence[str] | None = None,
    ) -> Completion:
        """Ask for one reply that is not a candidate, such as a judgement.

        Parameters
        ----------
        prompt
            The prompt; by default the node's own.
        candidates
            The candidates that the node's own prompt shows; by default all.
        choices
            Possible replies. No text is generated; the completion's ``choice_logprobs`` has the
            log-probability of each. The model needs the capability ``choices``.
        """
        self._count(1)
        return await self._context.ask(
            self._messages(prompt, candidates), choices=None if choices is None else tuple(choices)
        )

    async def sample(
        self,
        n: int = 1,
        prompt: str | Sequence[Message] | None = None,
        *,
        candidates: Sequence[Candidate] | None = None,
    ) -> list[Candidate]:
        """Generate ``n`` new candidates, or fewer if the budget is too small.

        The parents of the new candidates are those in ``candidates``, or by default all that the
        node reads. The node type must have the effect ``writes``.
        """
        self._count(n)
        messages = self._messages(prompt, candidates)
        completions = await self._context.sample(messages, n, skip=self._num_samples)
        self._num_samples += n
        read = self._candidates if candidates is None else candidates
        parents = tuple(candidate.id for candidate in read)
        return from_completions(
            self._tools.name, completions, self._context.question, parents, messages
        )

    def can(self, capability: str) -> bool:
        """Return whether the model has a capability (``archon.lm.base.CAPABILITIES``)."""
        return self._context.can(capability)

    def _messages(
        self, prompt: str | Sequence[Message] | None, candidates: Sequence[Candidate] | None
    ) -> tuple[Message, ...]:
        if prompt is None:
            return self.messages(candidates)
        if isinstance(prompt, str):
            return (*self._context.question.history, Message("user", prompt))
        return tuple(prompt)

    def _count(self, calls: int) -> None:
        self._num_calls += calls
        if self._num_calls > self._max_calls:
            raise UsageError(
                f"the node type {self._plugin.name!r} declares at most {self._max_calls} "
                "calls of its model for these candidates, but makes more; give the number with "
                "calls= in its @archon.node"
            )


class PluginNode:
    """A node of a plug-in: calls the plug-in's function, and checks the candidates it returns."""

    def __init__(self, plugin: NodePlugin, setup: Setup[Any]) -> None:
        self._plugin, self._setup = plugin, setup
        self._function: Callable[..., Any] = plugin.code
        if inspect.isclass(plugin.code):
            takes = inspect.signature(plugin.code).parameters
            made: Any = plugin.code(**({"parameters": setup.spec} if "parameters" in takes else {}))
            self._function = made.run

    async def run(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Call the function; a function that is not async runs in a thread."""
        tools = NodeTools(self._setup.name, context.question)
        values: dict[str, Any] = {
            "candidates": list(candidates),
            "question": context.question,
            "parameters": self._setup.spec,
            "node": tools,
            "model": self._model(context, tools, candidates),
        }
        given = {name: values[name] for name in self._plugin.passes}
        if self._setup.spec.role is None:
            given.pop("model", None)
        try:
            if not self._plugin.is_async:
                found = await context.in_time(asyncio.to_thread(self._function, **given))
            elif "model" in given:  # its calls observe the time limit
                found = await self._function(**given)
            else:
                found = await context.in_time(self._function(**given))
        except ArchonError:
            raise
        except Exception as error:
            where = place(error) or self._plugin.name
            raise UsageError(f"{where}: {summary(error)}") from error
        outputs = self._checked(found, candidates)
        kept = {candidate.id for candidate in outputs}
        context.drop([candidate for candidate in candidates if candidate.id not in kept])
        return outputs

    def _model(
        self, context: NodeContext, tools: NodeTools, candidates: Sequence[Candidate]
    ) -> NodeModel | None:
        if self._setup.spec.role is None:
            return None
        most = count_of(self._plugin.calls, self._setup.spec, len(candidates)) or 0
        prompt = self._setup.prompt
        return NodeModel(self._plugin, context, tools, prompt, candidates, most)

    def _checked(self, found: Any, inputs: Sequence[Candidate]) -> list[Candidate]:
        """Return the candidates to pass on, after checking them against the declaration.

        Raises
        ------
        UsageError
            The function did not return candidates, or did what its declaration excludes.
        """
        plugin = self._plugin
        if not isinstance(found, Iterable) or isinstance(found, str | bytes | Mapping):
            raise self._fault(f"must return a list of candidates, not {shown(found)}")
        outputs = list(found)
        known = {candidate.id: candidate for candidate in inputs}
        seen: set[CandidateId] = set()
        for each in outputs:
            if not isinstance(each, Candidate):
                raise self._fault(f"must return candidates, but one is {shown(each)}")
            if each.id in seen:
                raise self._fault(f"returns the candidate {_name(each)} twice")
            seen.add(each.id)
            self._check(each, known.get(each.id))
        limit = count_of(plugin.keeps, self._setup.spec, len(inputs))
        if limit is not None and len(outputs) > limit:
            raise self._fault(f"declares keeps={limit}, but returns {len(outputs)} candidates")
        if plugin.model != "none" or not plugin.writes:
            return outputs
        most = count_of(plugin.calls, self._setup.spec, len(inputs)) or 0
        if sum(each.id.node == self._setup.name for each in outputs) > most:
            raise self._fault(f"writes more than the {most} candidates that calls= allows")
        return outputs

    def _check(self, candidate: Candidate, read: Candidate | None) -> None:
        """Check one returned candidate; ``read`` is the one with the same id that was read."""
        plugin, name = self._plugin, self._setup.name
        if read is None:
            if candidate.id.node != name:
                raise self._fault(f"returns {_name(candidate)}, which it did not read")
            if not plugin.writes:
                raise self._fault('writes candidates; add effects=["writes"] to its @archon.node')
        else:
            if plugin.replaces:
                raise self._fault('passes on what it reads; use "writes", not "replaces"')
            if candidate.text != read.text:
                raise self._fault(
                    "changes a candidate's text; write a new one with node.candidate(text)"
                )
            if candidate.value != read.value and not plugin.values:
                raise self._fault('changes a value; add effects=["values"] to its @archon.node')
        new = candidate.annotations[0 if read is None else len(read.annotations) :]
        kinds = {annotation.kind for annotation in new}
        for kind, effect, is_declared in (
            ("score", "scores", plugin.scores),
            ("critique", "critiques", plugin.critiques),
        ):
            if kind in kinds and not is_declared and read is not None:
                raise self._fault(f'adds a {kind}; add effects=["{effect}"] to its @archon.node')
        if plugin.scores and "score" not in kinds:
            raise self._fault('declares "scores", but a candidate has no score of this node')

    def _fault(self, reason: str) -> UsageError:
        return UsageError(f"the node type {self._plugin.name!r} {reason}")


def _name(candidate: Candidate) -> str:
    return f"{candidate.id.node} {candidate.id.draw}"


def plugin_node_type(registration: Registration) -> NodeType[Any]:
    """Return the declaration of a registered node type, made from what its decorator states."""
    plugin: NodePlugin = registration.declaration
    method = _method(plugin)
    if plugin.model == "optional":
        without = replace(method, prompt=None, requires=frozenset(), calls=_no_calls(plugin))
        method = replace(method, without_model=without)
    keeps = plugin.keeps
    names = () if plugin.parameters is None else tuple(plugin.parameters.model_fields)
    return NodeType(
        spec=node_spec(registration),
        methods={"": method},
        needs_inputs=plugin.needs_inputs,
        reads=lambda node: Reads(
            critiques=True if plugin.reads_critiques else None,
            scores="score" if plugin.reads_scores else None,
        ),
        effects=Effects(
            writes=plugin.writes,
            replaces=plugin.replaces,
            keeps=None if keeps is None else lambda node: count_of(keeps, node, 0),
            scores="grade" if plugin.scores else None,
            critiques=plugin.critiques,
            values=plugin.values,
        ),
        label=lambda node: set_parameters(node, *names),
        explain=lambda node, candidate: _explain(plugin, node, candidate),
    )


def _method(plugin: NodePlugin) -> Method[Any]:
    def make(setup: Setup[Any]) -> PluginNode:
        return PluginNode(plugin, setup)

    if plugin.model == "none":
        return Method(make=make, calls=_no_calls(plugin))
    template = Template(plugin.description or "The node's own prompt.", plugin.prompt)
    filled = ("question", "candidates", "critiques") if plugin.needs_inputs else ("question",)
    kind = PromptKind(plugin.name, {plugin.name: template}, required=("question",), filled=filled)
    return Method(make=make, prompt=kind, requires=plugin.requires, calls=_calls(plugin))


def _calls(plugin: NodePlugin) -> Callable[[Any, int], Calls]:
    def calls(node: Any, num_inputs: int) -> Calls:
        has_work = num_inputs or not plugin.needs_inputs
        count = (count_of(plugin.calls, node, num_inputs) or 0) if has_work else 0
        shown_ = num_inputs if plugin.shown is None else min(plugin.shown, num_inputs)
        return Calls(count, shown_, num_prompts=count)

    return calls


def _no_calls(plugin: NodePlugin) -> Callable[[Any, int], Calls]:
    """Return the calls of a node without a model: only the number of candidates it writes."""

    def calls(node: Any, num_inputs: int) -> Calls:
        return Calls((count_of(plugin.calls, node, num_inputs) or 0) if plugin.writes else 0)

    return calls


def _explain(plugin: NodePlugin, node: Mapping[str, Any], candidate: Mapping[str, Any]) -> Reason:
    if plugin.replaces:
        return Reason(f"read by {plugin.name} for its new answers", fused=True)
    return Reason(f"not passed on by {plugin.name}", next(_reasons(node, candidate), ""))


def _reasons(node: Mapping[str, Any], candidate: Mapping[str, Any]) -> Iterator[str]:
    for annotation in candidate.get("annotations", ()):
        if annotation["node"] == node["node"] and annotation["reason"]:
            yield str(annotation["reason"])
