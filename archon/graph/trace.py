"""Trace of a run: the inputs, calls and outputs of every node.

All times are in seconds. Start times are measured from the start of the run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from archon.answers.letters import with_options
from archon.graph.model_usage import UsageByModel
from archon.graph.nodes.registry import NODE_TYPES
from archon.graph.notes import notes
from archon.lm.compute import ComputeModel, ModelUsage, ScoredTexts
from archon.lm.custom.token_counts import INCOMPLETE_COST, lacks_token_counts
from archon.types import (
    Annotation,
    Candidate,
    CandidateId,
    Completion,
    Limit,
    Message,
    Question,
    SamplingParams,
    ToolCall,
    UnitTest,
    Usage,
    cost_tokens,
    sampling_values,
    total_usage,
)

VERSION = 1


@dataclass(slots=True)
class CallTrace:
    """One request to a model, with all of its completions."""

    messages: tuple[Message, ...]
    sampling: SamplingParams
    first_draw: int
    completions: list[Completion]
    start_seconds: float
    seconds: float


@dataclass(slots=True)
class NodeTrace:
    """The inputs, calls and outputs of one node."""

    node: str
    type: str
    start_seconds: float
    inputs: tuple[CandidateId, ...]
    calls: list[CallTrace] = field(default_factory=list)
    outputs: tuple[Candidate, ...] = ()
    dropped: tuple[Candidate, ...] = ()
    """Candidates that the node judged but did not pass on, with the annotations that it made."""
    tests: tuple[UnitTest, ...] = ()
    """Unit tests that the node wrote."""
    seconds: float = 0.0
    bypassed: bool = False
    """True if the node did not run, because its ``when`` was false, and passed on its inputs."""
    notes: tuple[str, ...] = ()
    """Reasons why the node is of little use for this type of answer."""
    model: str | None = None
    """Name of the model's card, or the role if it has none; None for a node that uses no model, or
    an architecture."""
    compute_model: ComputeModel | None = None
    """The sizes of the model that determine its compute; None if they are unknown."""
    scored: list[ScoredTexts] = field(default_factory=list)
    """Texts that the node's reward model or encoder has read."""
    cut: Limit | None = None
    """The limit of the budget that the node reached, or None. A generator or fuser that reaches a
    limit makes fewer samples; any other node passes on its inputs."""

    @property
    def usage(self) -> Usage:
        """The total usage of the node's calls."""
        return total_usage(self.completions())

    @property
    def num_samples(self) -> int:
        """Number of samples that the node requested; 0 for a node that writes no candidates."""
        writes = NODE_TYPES[self.type].effects.writes
        return sum(1 for _ in self.completions()) if writes else 0

    @property
    def num_failed_samples(self) -> int:
        """Number of samples that failed, while other samples of the node succeeded."""
        return sum(completion.error is not None for completion in self.completions())

    def span_attributes(self) -> dict[str, Any]:
        """Return the attributes of the node's OpenTelemetry span (``archon.tracing``)."""
        found = {
            "archon.node.inputs": len(self.inputs),
            "archon.node.candidates": len(self.outputs),
            "archon.node.is_bypassed": self.bypassed,
        }
        return found if self.cut is None else {**found, "archon.node.limited_by": self.cut}

    def completions(self) -> Iterator[Completion]:
        """Return every completion, in the order in which the calls ended."""
        return (completion for call in self.calls for completion in call.completions)


@dataclass(slots=True)
class Trace:
    """The record of one run: an architecture's work on one question."""

    architecture: str
    question: Question
    seed: int
    run: int
    output: str
    nodes: dict[str, NodeTrace] = field(default_factory=dict)
    """Node → its trace, in the order in which the nodes started."""
    seconds: float = 0.0

    @property
    def usage(self) -> Usage:
        """The total usage of all nodes."""
        return total_usage(self.completions())

    @property
    def cost_tokens(self) -> int:
        """The cost of the answer in tokens (``archon.types.cost_tokens``)."""
        return cost_tokens(self.completions())

    @property
    def usage_by_model(self) -> dict[str, ModelUsage]:
        """Name of each model → its usage, including nested architectures."""
        usage = UsageByModel()
        self._add_usage(usage)
        return usage.models

    def _add_usage(self, usage: UsageByModel) -> None:
        for node in self.nodes.values():
            for call in node.calls:
                if node.model is not None:
                    usage.add_call(node.model, node.compute_model, call.sampling, call.completions)
            if node.model is not None:
                usage.add_scored(node.model, node.scored)
        for trace in self._nested():
            trace._add_usage(usage)

    @property
    def num_reasoning_cut_off(self) -> int:
        """Number of completions whose reasoning was cut off, including nested architectures."""
        return sum(map(_num_cut_off, self.completions()))

    @property
    def limited_by(self) -> Limit | None:
        """The limit of the budget that cut the run short (``"tokens"``, for example), or None.

        If nodes reached different limits, this is the limit of the node that started first.
        """
        return next((node.cut for node in self.nodes.values() if node.cut is not None), None)

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks on how the answer was chosen (``archon.graph.notes``)."""
        output = self.nodes.get(self.output)
        chosen = () if output is None else notes(output.outputs, self.question.answer)
        of_nodes = (note for node in self.nodes.values() for note in node.notes)
        is_incomplete = any(map(lacks_token_counts, self.completions()))
        return (*chosen, *of_nodes, *([INCOMPLETE_COST] if is_incomplete else []))

    @property
    def num_samples(self) -> int:
        """Number of samples that the nodes requested, including nested architectures."""
        return sum(node.num_samples for node in self.nodes.values()) + sum(
            trace.num_samples for trace in self._nested()
        )

    @property
    def num_failed_samples(self) -> int:
        """Number of samples that failed, including nested architectures."""
        return sum(node.num_failed_samples for node in self.nodes.values()) + sum(
            trace.num_failed_samples for trace in self._nested()
        )

    def _nested(self) -> Iterator[Trace]:
        """Yield the traces of the nested architectures' runs."""
        for completion in self.completions():
            if isinstance(completion.trace, Trace):
                yield completion.trace

    @property
    def prompts(self) -> dict[str, int]:
        """Digest of each distinct prompt → its number of tokens."""
        return {d: tokens for c in self.completions() for d, tokens in c.prompts.items()}

    def completions(self) -> Iterator[Completion]:
        """Return every completion of every node."""
        return (completion for node in self.nodes.values() for completion in node.completions())

    def to_json(self) -> dict[str, Any]:
        """Return the trace as JSON-serializable data."""
        question = self.question
        return {
            "version": VERSION,
            "architecture": self.architecture,
            "question": {
                "text": with_options(question.text, question.choices),
                "history": list(map(_message, question.history)),
                "answer": question.answer,
            },
            "seed": self.seed,
            "run": self.run,
            "output": self.output,
            "usage": _fields(self.usage),
            "usage_by_model": {name: asdict(usage) for name, usage in self.usage_by_model.items()},
            "cost_tokens": self.cost_tokens,
            "limited_by": self.limited_by,
            "notes": list(self.notes),
            "failed_samples": self.num_failed_samples,
            "seconds": self.seconds,
            "nodes": list(map(node_json, self.nodes.values())),
        }


def candidate_json(candidate: Candidate) -> dict[str, Any]:
    """Return a candidate as JSON-serializable data."""
    return {
        "id": _fields(candidate.id),
        "text": candidate.text,
        "value": candidate.value,
        "parents": list(map(_fields, candidate.parents)),
        "annotations": list(map(_fields, candidate.annotations)),
        "mean_logprob": candidate.mean_logprob,
    }


def node_json(node: NodeTrace) -> dict[str, Any]:
    """Return a node's trace as JSON-serializable data."""
    return {
        "node": node.node,
        "type": node.type,
        "bypassed": node.bypassed,
        "cut": node.cut,
        "start_seconds": node.start_seconds,
        "seconds": node.seconds,
        "usage": _fields(node.usage),
        "inputs": list(map(_fields, node.inputs)),
        "outputs": list(map(candidate_json, node.outputs)),
        "dropped": list(map(candidate_json, node.dropped)),
        "tests": list(map(_fields, node.tests)),
        "calls": list(map(_call, node.calls)),
    }


def _call(call: CallTrace) -> dict[str, Any]:
    return {
        "messages": list(map(_message, call.messages)),
        "sampling": sampling_values(call.sampling),
        "first_draw": call.first_draw,
        "start_seconds": call.start_seconds,
        "seconds": call.seconds,
        "completions": list(map(_completion, call.completions)),
    }


def _message(message: Message) -> dict[str, Any]:
    """Return a message as JSON data. Fields about tools are present only if they are set."""
    data: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        data["tool_calls"] = list(map(_fields, message.tool_calls))
    return data | {
        name: value for name in ("tool_call_id", "name") if (value := getattr(message, name))
    }


def _completion(completion: Completion) -> dict[str, Any]:
    data: dict[str, Any] = {
        "text": completion.text,
        "draw": completion.draw,
        "finish_reason": completion.finish_reason,
        "usage": _fields(completion.usage),
    }
    if completion.reasoning:
        data["reasoning"] = completion.reasoning
    if completion.is_reasoning_cut_off:
        data["is_reasoning_cut_off"] = True
    if completion.notes:
        data["notes"] = list(completion.notes)
    if completion.choice_logprobs is not None:
        data["choice_logprobs"] = dict(completion.choice_logprobs)
    if completion.error is not None:
        data["error"] = completion.error
    if isinstance(completion.trace, Trace):
        data["trace"] = completion.trace.to_json()
    return data


def _num_cut_off(completion: Completion) -> int:
    if isinstance(completion.trace, Trace):
        return completion.trace.num_reasoning_cut_off
    return int(completion.is_reasoning_cut_off)


def _fields(value: Usage | CandidateId | Annotation | ToolCall | UnitTest) -> dict[str, Any]:
    return {f.name: getattr(value, f.name) for f in fields(value)}
