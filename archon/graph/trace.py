"""Everything that happened on the way to an answer.

Times are in seconds; offsets count from the moment the question was asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from archon.graph.nodes.registry import NODE_TYPES
from archon.graph.notes import notes
from archon.types import (
    Annotation,
    Candidate,
    CandidateId,
    Completion,
    Limit,
    Message,
    Question,
    SamplingParams,
    UnitTest,
    Usage,
    cost_tokens,
    sampling_values,
    total_usage,
)

VERSION = 1


@dataclass(slots=True)
class CallTrace:
    """One request to a model: what was asked, and every completion."""

    messages: tuple[Message, ...]
    sampling: SamplingParams
    first_draw: int
    completions: list[Completion]
    start_seconds: float
    seconds: float


@dataclass(slots=True)
class NodeTrace:
    """One node: what it read, asked and passed on."""

    node: str
    type: str
    start_seconds: float
    inputs: tuple[CandidateId, ...]
    calls: list[CallTrace] = field(default_factory=list)
    outputs: tuple[Candidate, ...] = ()
    dropped: tuple[Candidate, ...] = ()
    """What it judged and did not pass on, with the judgement."""
    tests: tuple[UnitTest, ...] = ()
    """Tests of the question that it wrote."""
    seconds: float = 0.0
    bypassed: bool = False
    """Its ``when`` was false, and its inputs passed it by."""
    cut: Limit | None = None
    """What the budget had too little of: a generator or fuser drew fewer samples, of any other
    node the inputs passed it by."""

    @property
    def usage(self) -> Usage:
        """What all its calls used."""
        return total_usage(self.completions())

    @property
    def num_samples(self) -> int:
        """Samples that it asked for; 0 for a node that writes no candidates."""
        return sum(1 for _ in self.completions()) if NODE_TYPES[self.type].writes else 0

    @property
    def num_failed_samples(self) -> int:
        """Those that failed while others of the node succeeded."""
        return sum(completion.error is not None for completion in self.completions())

    def completions(self) -> Iterator[Completion]:
        """Every completion, in the order in which the calls ended."""
        return (completion for call in self.calls for completion in call.completions)


@dataclass(slots=True)
class Trace:
    """One run of an architecture on one question."""

    architecture: str
    question: Question
    seed: int
    run: int
    output: str
    nodes: dict[str, NodeTrace] = field(default_factory=dict)
    """In the order in which the nodes started."""
    seconds: float = 0.0

    @property
    def usage(self) -> Usage:
        """What all nodes used."""
        return total_usage(self.completions())

    @property
    def cost_tokens(self) -> int:
        """The cost of the answer, as ``archon.types.cost_tokens`` defines it."""
        return cost_tokens(self.completions())

    @property
    def num_reasoning_cut_off(self) -> int:
        """Completions that ended within their reasoning, those of architectures within included."""
        return sum(map(_num_cut_off, self.completions()))

    @property
    def limited_by(self) -> Limit | None:
        """What the budget had too little of for some node; None where it cut none short."""
        return next((node.cut for node in self.nodes.values() if node.cut is not None), None)

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know of how the answer was chosen (``archon.graph.notes``)."""
        output = self.nodes.get(self.output)
        return () if output is None else notes(output.outputs, self.question.answer)

    @property
    def num_samples(self) -> int:
        """Samples that its nodes asked for, those of nested architectures included."""
        return sum(node.num_samples for node in self.nodes.values()) + sum(
            trace.num_samples for trace in self._nested()
        )

    @property
    def num_failed_samples(self) -> int:
        """Those that failed; the answer was made from the others."""
        return sum(node.num_failed_samples for node in self.nodes.values()) + sum(
            trace.num_failed_samples for trace in self._nested()
        )

    def _nested(self) -> Iterator[Trace]:
        """The traces of architectures that its nodes asked."""
        for completion in self.completions():
            if isinstance(completion.trace, Trace):
                yield completion.trace

    @property
    def prompts(self) -> dict[str, int]:
        """Digest → tokens of every distinct prompt that was read."""
        return {d: tokens for c in self.completions() for d, tokens in c.prompts.items()}

    def completions(self) -> Iterator[Completion]:
        """Every completion of every node."""
        return (completion for node in self.nodes.values() for completion in node.completions())

    def to_json(self) -> dict[str, Any]:
        """The same as plain data."""
        question = self.question
        return {
            "version": VERSION,
            "architecture": self.architecture,
            "question": {
                "text": question.text,
                "history": [_fields(message) for message in question.history],
                "answer": question.answer,
            },
            "seed": self.seed,
            "run": self.run,
            "output": self.output,
            "usage": _fields(self.usage),
            "cost_tokens": self.cost_tokens,
            "limited_by": self.limited_by,
            "notes": list(self.notes),
            "failed_samples": self.num_failed_samples,
            "seconds": self.seconds,
            "nodes": [_node(node) for node in self.nodes.values()],
        }


def candidate_json(candidate: Candidate) -> dict[str, Any]:
    """A candidate as plain data."""
    return {
        "id": _fields(candidate.id),
        "text": candidate.text,
        "value": candidate.value,
        "parents": _ids(candidate.parents),
        "annotations": [_fields(annotation) for annotation in candidate.annotations],
        "mean_logprob": candidate.mean_logprob,
    }


def _node(node: NodeTrace) -> dict[str, Any]:
    return {
        "node": node.node,
        "type": node.type,
        "bypassed": node.bypassed,
        "cut": node.cut,
        "start_seconds": node.start_seconds,
        "seconds": node.seconds,
        "usage": _fields(node.usage),
        "inputs": _ids(node.inputs),
        "outputs": [candidate_json(candidate) for candidate in node.outputs],
        "dropped": [candidate_json(candidate) for candidate in node.dropped],
        "tests": [_fields(test) for test in node.tests],
        "calls": [_call(call) for call in node.calls],
    }


def _call(call: CallTrace) -> dict[str, Any]:
    return {
        "messages": [_fields(message) for message in call.messages],
        "sampling": sampling_values(call.sampling),
        "first_draw": call.first_draw,
        "start_seconds": call.start_seconds,
        "seconds": call.seconds,
        "completions": [_completion(completion) for completion in call.completions],
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


def _ids(ids: Iterable[CandidateId]) -> list[dict[str, Any]]:
    return [_fields(identity) for identity in ids]


def _fields(value: Usage | CandidateId | Annotation | Message | UnitTest) -> dict[str, Any]:
    """The fields of a flat value."""
    return {f.name: getattr(value, f.name) for f in fields(value)}
