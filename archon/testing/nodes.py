"""Run one node without a file, and check a node type against the rules of graphs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

from archon import answers, api
from archon.errors import BudgetError, FileError
from archon.graph.answer import Answer, answer_from
from archon.graph.architecture import Architecture
from archon.graph.budget import Meter
from archon.graph.estimate import estimate
from archon.graph.event_loop import run_sync
from archon.graph.executor import Context, Run
from archon.graph.mermaid import mermaid
from archon.graph.nodes.declaration import Setup
from archon.graph.nodes.registry import NODE_TYPES, method_of
from archon.graph.trace import NodeTrace, Trace
from archon.lm.base import LM
from archon.lm.scripted.heuristic import HeuristicScript
from archon.lm.scripted.lm import ScriptedLM, in_turn
from archon.plugins import lookup
from archon.types import AnswerKind, Candidate, CandidateId, Question, SamplingParams

_TEXTS = (
    "17 + 25 = 42\nThe answer is 42.",
    "17 + 25 = 41\nThe answer is 41.",
    "I do not know.",
    "17 + 25 = 42, so\nThe answer is 42.",
)
_QUESTION = "What is 17 + 25?"


def candidates(texts: Sequence[str], answer: AnswerKind = "number") -> list[Candidate]:
    """Return candidates with these texts, and the values that the texts state."""
    return [
        Candidate(CandidateId("draft", index), text, answers.read_answer(text, answer))
        for index, text in enumerate(texts)
    ]


def run_node(
    node_type: str,
    texts: Sequence[str] = _TEXTS,
    *,
    replies: Sequence[str] | LM | None = None,
    question: str | Question = _QUESTION,
    **keys: Any,
) -> list[Candidate]:
    """Run one node on candidates with these texts, and return what it passes on.

    Parameters
    ----------
    node_type
        The node type.
    texts
        Texts of the candidates that it reads, which the node ``draft`` writes.
    replies
        The replies of the node's model in turn, or a model. By default, a scripted model answers.
    question
        The question.
    keys
        The node's parameters.
    """
    return list(_run(node_type, texts, replies, question, keys).candidates)


def check_node(
    node_type: str,
    keys: Mapping[str, Any] | None = None,
    *,
    texts: Sequence[str] = _TEXTS,
    replies: Sequence[str] | LM | None = None,
) -> None:
    """Check a node type against the rules that every graph relies on.

    It runs without candidates (unless all nodes of the type stand at the start of a graph), with
    one, and with several; it makes no more calls and writes no more candidates than it declares;
    unknown keys are errors; runs with equal seeds are equal; its trace is JSON; a budget can stop
    it; and it can be bypassed.

    Parameters
    ----------
    node_type
        The node type.
    keys
        Keys of the node with which to test it; by default only required ones that are the same for
        all types.
    texts, replies
        See ``run_node``.

    Raises
    ------
    AssertionError
        A rule is broken.
    """
    keys = dict(keys or {})
    assert lookup.find("node", node_type) or node_type in NODE_TYPES, (
        f"the node type {node_type!r} is not registered; import its module first"
    )
    for count in (0, 1, len(texts)) if NODE_TYPES[node_type].needs_inputs else (len(texts),):
        answer = _run(node_type, texts[:count], replies, _QUESTION, keys)
        again = _run(node_type, texts[:count], replies, _QUESTION, keys)
        same = [c.text for c in answer.candidates] == [c.text for c in again.candidates]
        assert same or replies is not None, f"{node_type}: equal runs differ with {count} texts"
        json.dumps(answer.trace.to_json())
    architecture = _architecture(node_type, texts, replies, keys)
    _check_limits(node_type, architecture)
    _check_unknown_key(node_type, texts, keys)
    _check_budget(node_type, texts, keys)
    assert node_type in mermaid(architecture.graph), f"{node_type}: the diagram lacks the node"


def _check_limits(node_type: str, architecture: Architecture) -> None:
    bound = estimate(architecture).worst
    answer = architecture.run(_QUESTION)
    calls = answer.usage.calls
    assert calls <= bound.calls, f"{node_type}: {calls} calls, but the estimate is {bound.calls}"
    most = architecture.graph.flow.leaving["node"].total
    assert len(answer.candidates) <= most, (
        f"{node_type}: passes on {len(answer.candidates)} candidates; its declaration allows {most}"
    )


def _check_unknown_key(node_type: str, texts: Sequence[str], keys: Mapping[str, Any]) -> None:
    try:
        _architecture(node_type, texts, None, {**keys, "no_such_key": 1})
    except FileError as error:
        reason = str(error)
    else:
        raise AssertionError(f"{node_type}: an unknown key is accepted")
    assert "no_such_key" in reason, f"{node_type}: another error hides an unknown key: {reason}"


def _check_budget(node_type: str, texts: Sequence[str], keys: Mapping[str, Any]) -> None:
    limited = _architecture(node_type, texts, None, keys, {"max_calls": max(1, len(texts))})
    try:
        answer = limited.run(_QUESTION)
    except BudgetError:
        return
    assert answer.usage.calls <= max(1, len(texts)), f"{node_type}: exceeds a budget of calls"


def _run(
    node_type: str,
    texts: Sequence[str],
    replies: Sequence[str] | LM | None,
    question: str | Question,
    keys: Mapping[str, Any],
) -> Answer:
    asked = question if isinstance(question, Question) else Question(question)
    architecture = _architecture(node_type, texts, replies, keys)
    if not texts and NODE_TYPES[node_type].needs_inputs:
        return _without_candidates(architecture, asked)
    return architecture.run(asked)


def _without_candidates(architecture: Architecture, question: Question) -> Answer:
    """Run the node on no candidates, which a graph cannot do: its generator writes at least one."""
    spec = architecture.spec.nodes["node"]
    trace = Trace(architecture.name, question, 0, 0, "node")
    trace.nodes["node"] = node_trace = NodeTrace("node", spec.type, 0.0, ())
    uses = architecture.models.uses(SamplingParams())
    run = Run(uses, None, None, Meter(None, None), trace, 0.0)
    method = method_of(spec)
    prompt = architecture.prompt("node") if method.prompt is not None else None
    node = method.make(Setup("node", spec, prompt))
    outputs = run_sync(node.run(Context(run, node_trace, (), is_output=True), []))
    node_trace.outputs = tuple(outputs)
    return answer_from(tuple(outputs), trace)


def _architecture(
    node_type: str,
    texts: Sequence[str],
    replies: Sequence[str] | LM | None,
    keys: Mapping[str, Any],
    budget: Mapping[str, int] | None = None,
) -> Architecture:
    """Return a graph of a generator with these texts, and the node."""
    declared = NODE_TYPES[node_type]
    node: dict[str, Any] = {"type": node_type, **keys}
    if declared.needs_inputs:
        node["inputs"] = ["draft"]
    field = declared.spec.model_fields.get("model")
    if field is not None and (field.is_required() or "model" in keys or replies is not None):
        node.setdefault("model", "own")
    draft = {"type": "generator", "model": "draft", "samples": max(1, len(texts))}
    spec: dict[str, Any] = {
        "version": 1,
        "name": f"check-{node_type}",
        "models": {"draft": "scripted", "own": "scripted"},
        "nodes": {"draft": draft, "node": node} if declared.needs_inputs else {"node": node},
        "output": "node",
    }
    if budget is not None:
        spec["budget"] = dict(budget)
    models = {"draft": ScriptedLM(in_turn(list(texts) or [""])), "own": _model(replies)}
    return api.load(spec, models=models)


def _model(replies: Sequence[str] | LM | None) -> LM:
    if replies is None:
        return ScriptedLM(HeuristicScript(0.6))
    if isinstance(replies, LM):
        return replies
    in_order = cycle(replies)
    return ScriptedLM(lambda request, sample: next(in_order))
