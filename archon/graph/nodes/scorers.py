"""Scorers of single candidates; rankers order by them and verifiers compare with a threshold.

Every scorer reads numbers that a model computes; none parses a reply.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

from archon.errors import LMError
from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.selection import Scored, judge_each
from archon.graph.prompts.builder import Prompt
from archon.graph.prompts.listing import is_long, shortened, without_half_pairs
from archon.lm.concurrency import run_all
from archon.types import Candidate, Completion, Message

GRADES = tuple("123456789")
"""Each is a single token in the vocabularies of all known families."""
YES, NO = "Yes", "No"

MIN_MASS = 0.1
"""Minimum of P(yes) + P(no). Below it the model prefers another reply, and the scorer abstains."""

NOT_JUDGED = Scored(0.0, abstains=True)
"""The score of a candidate that the judge is not asked about (``Prompt.judged``)."""


class Scorer(Protocol):
    """A function that scores candidates."""

    async def __call__(
        self, context: NodeContext, candidates: Sequence[Candidate]
    ) -> list[Scored]: ...


class ExpectedGrade:
    """Expected grade over the grades 1 to 9, scaled to [0, 1]; one call per candidate.

    This is Σ P(grade) · grade, where P is the model's distribution, renormalized over the grades
    (G-Eval, Liu et al., arXiv 2303.16634). Unjudged candidates score 0; a candidate without a
    probable grade scores 0.5.
    """

    def __init__(self, prompt: Prompt, use_critiques: bool | None) -> None:
        self._prompt, self._use_critiques = prompt, use_critiques

    async def __call__(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Scored]:
        async def score(candidate: Candidate) -> Scored:
            messages = self._prompt.messages(context.question, [candidate], self._use_critiques)
            return Scored(_expected_grade(await score_choices(context, messages, GRADES)))

        return await judge_each(self._prompt, context, candidates, score, NOT_JUDGED)


class ProbabilityOfYes:
    """Probability of the reply yes, P(yes) / (P(yes) + P(no)); one call per candidate.

    Unjudged candidates score 0. The scorer abstains below ``MIN_MASS``.
    """

    def __init__(self, prompt: Prompt) -> None:
        self._prompt = prompt

    async def __call__(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Scored]:
        async def score(candidate: Candidate) -> Scored:
            messages = self._prompt.messages(context.question, [candidate])
            logprobs = await score_choices(context, messages, (YES, NO))
            mass = sum(map(math.exp, logprobs.values()))
            return Scored(share(logprobs[YES], logprobs[NO]), mass < MIN_MASS)

        return await judge_each(self._prompt, context, candidates, score, NOT_JUDGED)


class OwnLikelihood:
    """Geometric mean of the token probabilities of a text under the model that wrote it.

    The log-probabilities came with the text, so no model is asked. A text without them scores 0.
    """

    async def __call__(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Scored]:
        return [Scored(own_likelihood(candidate) or 0.0) for candidate in candidates]


class Likelihood:
    """Geometric mean of the token probabilities of a text as a reply of the node's model.

    One call per candidate. An empty text scores 0. So does a text that is too long for a prompt:
    repetitions are likely from the second time on, so a part does not represent the complete text.
    """

    def __init__(self, prompt: Prompt) -> None:
        self._prompt = prompt

    async def __call__(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Scored]:
        messages = self._prompt.messages(context.question)

        async def score(candidate: Candidate) -> Scored:
            if not candidate.text or is_long(candidate.text):
                return Scored(0.0)
            text = shortened(candidate.text)
            completion = await context.ask(messages, choices=(text,))
            logprob = _logprobs(completion, (text,))[text]
            return Scored(math.exp(min(0.0, logprob / max(1, completion.usage.choice_tokens))))

        return await run_all(map(score, candidates))


class Reward:
    """Rewards of the texts as replies, on the model's own scale; Archon trains models for [0, 1].

    The texts are replies to the question in the node's wording or, with the template
    ``conversation``, to the messages that their writers read, which the same model has computed
    already. Each distinct prompt takes one call. Long texts are not shortened, as in training.
    """

    def __init__(self, prompt: Prompt) -> None:
        self._prompt = prompt

    async def __call__(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Scored]:
        asked = self._prompt.messages(context.question)
        answering: dict[tuple[Message, ...], list[int]] = {}
        for i, candidate in enumerate(candidates):
            own = candidate.messages if self._prompt.is_conversation else ()
            answering.setdefault(own or asked, []).append(i)
        texts = [without_half_pairs(candidate.text) for candidate in candidates]
        rewarded = await run_all(
            context.reward(messages, [texts[i] for i in indices])
            for messages, indices in answering.items()
        )
        scores = [Scored(0.0)] * len(candidates)
        for indices, rewards in zip(answering.values(), rewarded, strict=True):
            for i, reward in zip(indices, rewards, strict=True):
                scores[i] = Scored(reward)
        return scores


def own_likelihood(candidate: Candidate) -> float | None:
    """Return the geometric mean of a candidate's token probabilities; None if they are unknown."""
    return None if candidate.mean_logprob is None else math.exp(min(0.0, candidate.mean_logprob))


async def score_choices(
    context: NodeContext, messages: tuple[Message, ...], choices: tuple[str, ...]
) -> Mapping[str, float]:
    """Return the log-probability of each choice as the reply.

    Raises
    ------
    LMError
        The model did not return one for each choice.
    """
    return _logprobs(await context.ask(messages, choices=choices), choices)


def share(logprob: float, other: float) -> float:
    """Return p / (p + q) for the log-probabilities of p and q; 0.5 if both p and q are zero."""
    if logprob == other:
        return 0.5
    return 1 / (1 + math.exp(min(700.0, other - logprob)))


def _logprobs(completion: Completion, choices: Sequence[str]) -> Mapping[str, float]:
    logprobs = completion.choice_logprobs or {}
    if any(math.isnan(logprobs.get(choice, math.nan)) for choice in choices):
        raise LMError("the model did not return a log-probability for each choice")
    return logprobs


def _expected_grade(logprobs: Mapping[str, float]) -> float:
    """Return the expected grade, scaled from 0 for the lowest to 1 for the highest."""
    top = max(logprobs.values())
    if top == -math.inf:
        return 0.5
    weights = [math.exp(logprobs[grade] - top) for grade in GRADES]
    indices = (i / (len(GRADES) - 1) * weight for i, weight in enumerate(weights))
    return sum(indices) / sum(weights)
