"""Fakes that the tests of nodes, executor and architectures share."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from archon.graph.architecture import Architecture
from archon.graph.nodes.registry import prompt_kinds
from archon.graph.prompts.builder import Prompt
from archon.graph.validation.build import build
from archon.lm.base import LM
from archon.lm.scripted.lm import ScriptedLM
from archon.spec.architecture import ArchitectureSpec
from archon.spec.common import PromptSpec
from archon.spec.model import ModelCard, ScriptedCard
from archon.types import (
    Annotation,
    Candidate,
    CandidateId,
    Completion,
    Constraint,
    Message,
    OnEvent,
    Question,
    Request,
    UnitTest,
    Usage,
)

CARD = ScriptedCard.model_validate({"name": "scripted", "backend": "scripted"})


def make_candidate(
    draw: int,
    value: str | None = None,
    *annotations: Annotation,
    node: str = "draft",
    text: str = "",
) -> Candidate:
    return Candidate(
        CandidateId(node, draw), text or f"The answer is {value}.", value, (), annotations
    )


def make_completion(text: str, draw: int = 0) -> Completion:
    usage = Usage(10, 0, len(text.split()), len(text.split()), 0, 1)
    return Completion(text, draw, "stop", usage, {"prompt": 10})


PROMPT_KINDS = {kind.name: kind for kind in prompt_kinds()}


def make_prompt(kind: str, **spec: Any) -> Prompt:
    return Prompt(PromptSpec.model_validate(spec), PROMPT_KINDS[kind], reads_candidates=True)


class FakeContext:
    """Context that answers a node from a list of replies and records its requests.

    ``scores`` returns the log-probability of a choice, ``rewards`` the reward of a text.
    """

    def __init__(
        self,
        replies: Iterable[str] = (),
        text: str = "What is 2 + 3?",
        *,
        scores: Callable[[str, str], float] | None = None,
        rewards: Callable[[str], float] | None = None,
        tests: tuple[UnitTest, ...] = (),
    ) -> None:
        self.question = Question(text)
        self.tests: tuple[UnitTest, ...] = tests
        self.added: list[UnitTest] = []
        self.dropped: list[Candidate] = []
        self._scores, self._rewards = scores, rewards
        self.asked: list[tuple[Message, ...]] = []
        self.constraints: list[Constraint | None] = []
        self._replies = iter(replies)

    async def ask(
        self,
        messages: tuple[Message, ...],
        *,
        constraint: Constraint | None = None,
        choices: tuple[str, ...] | None = None,
    ) -> Completion:
        self.asked.append(messages)
        self.constraints.append(constraint)
        if choices is not None:
            assert self._scores is not None
            scores = {choice: self._scores(messages[-1].content, choice) for choice in choices}
            usage = Usage(10, choice_tokens=sum(len(c.split()) for c in choices), calls=1)
            return Completion("", 0, "choices", usage, {"prompt": 10}, choice_logprobs=scores)
        return make_completion(next(self._replies))

    def can(self, capability: str) -> bool:
        return capability == "choices" and self._scores is not None

    async def reward(self, messages: tuple[Message, ...], texts: Sequence[str]) -> list[float]:
        self.asked.append(messages)
        assert self._rewards is not None
        return [self._rewards(text) for text in texts]

    async def in_time(self, work: Awaitable[Any]) -> Any:
        return await work

    def drop(self, candidates: Sequence[Candidate]) -> None:
        self.dropped += candidates

    def add_tests(self, tests: Sequence[UnitTest]) -> None:
        self.added += tests

    async def sample(
        self, messages: tuple[Message, ...], n: int, *, skip: int = 0
    ) -> list[Completion]:
        self.asked.append(messages)
        replies = itertools.islice(self._replies, n)
        return [make_completion(reply, skip + i) for i, reply in enumerate(replies)]


class Gate:
    """A model whose calls wait until the test lets the prompt through.

    ``waiting`` are the last messages of the calls that wait; ``cancelled`` counts those that were
    cancelled while they did.
    """

    capabilities = frozenset({"chat", "stream"})

    def __init__(self) -> None:
        self.waiting: dict[str, asyncio.Event] = {}
        self.cancelled = 0

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        text = request.messages[-1].content
        gate = self.waiting.setdefault(text, asyncio.Event())
        try:
            await gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        draws = range(request.first_draw, request.first_draw + request.n)
        return [make_completion(f"The answer is {draw}.", draw) for draw in draws]

    async def until_waiting(self, *texts: str) -> None:
        """Let the event loop turn until exactly these calls wait."""
        for _ in range(100):
            if {t for t, gate in self.waiting.items() if not gate.is_set()} == set(texts):
                return
            await asyncio.sleep(0)
        raise AssertionError(f"waiting: {sorted(self.waiting)}")

    def open(self, text: str) -> None:
        self.waiting[text].set()


def make_architecture(
    nodes: Mapping[str, Mapping[str, Any]],
    output: str,
    lms: LM | Mapping[str, LM] | Callable[[Request, int], str],
    cards: Mapping[str, ModelCard | None] | None = None,
    **spec: Any,
) -> Architecture:
    """An architecture over one model for every role, or over the given ones; nodes that name no
    model take the role ``solver``, and those that name None go without."""
    asking = {"generator", "critic", "ranker", "fuser", "verifier", "unit_test_generator"}
    asking |= {"unit_test_evaluator"}
    full = {
        name: {"model": "solver", **node} if node["type"] in asking else dict(node)
        for name, node in nodes.items()
    }
    roles = {node["model"] for node in full.values() if node.get("model") is not None}
    if not isinstance(lms, Mapping):
        lm = lms if hasattr(lms, "generate") else ScriptedLM(lms)
        lms = dict.fromkeys(roles, lm)
    data = {
        "version": 1,
        "name": "tested",
        "models": dict.fromkeys(sorted(roles), "scripted"),
        "nodes": full,
        "output": output,
        **spec,
    }
    graph = build(ArchitectureSpec.model_validate(data), {})
    return Architecture(graph, lms, cards or dict.fromkeys(roles))
