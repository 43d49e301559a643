"""Ways of scoring each candidate on its own, which rankers order by and verifiers hold a threshold
against. Nothing is parsed: all read numbers that a model computes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from archon.errors import LMError
from archon.graph.nodes.base import NodeContext
from archon.graph.prompts.builder import Prompt
from archon.graph.prompts.listing import is_long, shortened, without_half_pairs
from archon.lm.concurrency import run_all
from archon.types import Candidate, Completion, Message

GRADES = tuple("123456789")
"""Each a single token of its own in the vocabularies of all families that we know."""
YES, NO = "Yes", "No"

MIN_MASS = 0.1
"""P(yes) + P(no) below which the model wants to say something else, and the score is no verdict."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A candidate's score; higher is better."""

    value: float
    abstains: bool = False
    """The model could not be brought to judge, so the score says little."""


NOT_JUDGED = Scored(0.0, abstains=True)
"""Of a candidate that a judge is not asked about (``Prompt.judged``)."""


class Scorer(Protocol):
    """Scores candidates independently of each other."""

    async def __call__(
        self, context: NodeContext, candidates: Sequence[Candidate]
    ) -> list[Scored]: ...


class ExpectedGrade:
    """Σ P(grade) · grade over the grades 1 to 9, moved to [0, 1]: one call a candidate.

    P is the model's own, renormalised over the grades (G-Eval, Liu et al., arXiv 2303.16634).
    """

    def __init__(self, prompt: Prompt, use_critiques: bool | None) -> None:
        self._prompt, self._use_critiques = prompt, use_critiques

    async def __call__(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Scored]:
        """Scores in [0, 1]; 0 of what is not judged, 0.5 where no grade is probable."""
        judged = self._prompt.judged(context.question, candidates)
        return await run_all(self._score(context, c, c.id in judged) for c in candidates)

    async def _score(self, context: NodeContext, candidate: Candidate, is_judged: bool) -> Scored:
        if not is_judged:
            return NOT_JUDGED
        messages = self._prompt.messages(context.question, [candidate], self._use_critiques)
        return Scored(_expected_place(await score_choices(context, messages, GRADES)))


class ProbabilityOfYes:
    """P(yes) / (P(yes) + P(no)) as the reply to whether the answer is right: one call a candidate.

    Abstains where the two together have less than ``MIN_MASS``.
    """

    def __init__(self, prompt: Prompt) -> None:
        self._prompt = prompt

    async def __call__(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Scored]:
        """Scores in [0, 1]; 0 of what is not judged."""
        judged = self._prompt.judged(context.question, candidates)
        return await run_all(self._score(context, c, c.id in judged) for c in candidates)

    async def _score(self, context: NodeContext, candidate: Candidate, is_judged: bool) -> Scored:
        if not is_judged:
            return NOT_JUDGED
        messages = self._prompt.messages(context.question, [candidate])
        logprobs = await score_choices(context, messages, (YES, NO))
        return Scored(share(logprobs[YES], logprobs[NO]), _mass(logprobs) < MIN_MASS)


class OwnLikelihood:
    """The geometric mean of the probabilities of a text's tokens under the model that wrote it.

    The log-probabilities came with the text, so nothing is asked. A text without tokens has 0.
    """

    async def __call__(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Scored]:
        """Scores in [0, 1]."""
        return [Scored(likelihood(candidate)) for candidate in candidates]


class Likelihood:
    """The same under the node's model, to which the text is given as a reply to the question.

    One call a candidate. A text that is too long to be shown whole has 0: of a repetition, which
    is likely from its second time on, no part tells how likely the whole is as an answer.
    """

    def __init__(self, prompt: Prompt) -> None:
        self._prompt = prompt

    async def __call__(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Scored]:
        """Scores in [0, 1]; a text without tokens has 0."""
        messages = self._prompt.messages(context.question)
        return await run_all(self._score(context, messages, c.text) for c in candidates)

    @staticmethod
    async def _score(context: NodeContext, messages: tuple[Message, ...], text: str) -> Scored:
        if not text or is_long(text):
            return Scored(0.0)
        text = shortened(text)
        (completion,) = await context.ask(messages, choices=(text,))
        logprob = _logprobs(completion, (text,))[text]
        return Scored(math.exp(min(0.0, logprob / max(1, completion.usage.choice_tokens))))


class Reward:
    """What a reward model gives each text as a reply: one call for all that answer alike.

    They answer the question as the node's prompt words it, or, by the template ``conversation``,
    the messages that the writer of each read; if that is the same model, it has computed them
    already. A long text is given whole, as those that the model learnt from were.
    """

    def __init__(self, prompt: Prompt) -> None:
        self._prompt = prompt

    async def __call__(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Scored]:
        """Scores on the reward model's own scale: of those that Archon trains, in [0, 1]."""
        asked = self._prompt.messages(context.question)
        answering: dict[tuple[Message, ...], list[int]] = {}
        for i, candidate in enumerate(candidates):
            own = candidate.messages if self._prompt.is_conversation else ()
            answering.setdefault(own or asked, []).append(i)
        texts = [without_half_pairs(candidate.text) for candidate in candidates]
        rewarded = await run_all(
            context.reward(messages, [texts[i] for i in places])
            for messages, places in answering.items()
        )
        scores = [0.0] * len(candidates)
        for places, rewards in zip(answering.values(), rewarded, strict=True):
            for i, reward in zip(places, rewards, strict=True):
                scores[i] = reward
        return list(map(Scored, scores))


def likelihood(candidate: Candidate) -> float:
    """exp of the mean log-probability that came with a candidate; 0 where none did."""
    return 0.0 if candidate.mean_logprob is None else math.exp(min(0.0, candidate.mean_logprob))


async def score_choices(
    context: NodeContext, messages: tuple[Message, ...], choices: tuple[str, ...]
) -> Mapping[str, float]:
    """The log-probability of each choice as the reply.

    Raises
    ------
    LMError
        The model returned something else.
    """
    (completion,) = await context.ask(messages, choices=choices)
    return _logprobs(completion, choices)


def share(logprob: float, other: float) -> float:
    """p / (p + q) of two log-probabilities; 0.5 where both are zero."""
    if logprob == other:
        return 0.5
    return 1 / (1 + math.exp(min(700.0, other - logprob)))


def _logprobs(completion: Completion, choices: Sequence[str]) -> Mapping[str, float]:
    logprobs = completion.choice_logprobs or {}
    if any(math.isnan(logprobs.get(choice, math.nan)) for choice in choices):
        raise LMError("the model did not return a log-probability for each choice")
    return logprobs


def _mass(logprobs: Mapping[str, float]) -> float:
    return sum(map(math.exp, logprobs.values()))


def _expected_place(logprobs: Mapping[str, float]) -> float:
    """The mean place among the grades, from 0 for the first to 1 for the last."""
    top = max(logprobs.values())
    if top == -math.inf:
        return 0.5
    weights = [math.exp(logprobs[grade] - top) for grade in GRADES]
    places = (i / (len(GRADES) - 1) * weight for i, weight in enumerate(weights))
    return sum(places) / sum(weights)
