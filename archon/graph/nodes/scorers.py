"""Scorers that score each candidate separately, for rankers and for verifiers with a threshold.

Scores are computed from probabilities or rewards that a model returns, not from a reply's text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

from archon.errors import LMError
from archon.graph.nodes.base import NodeContext
from archon.graph.nodes.selection import Scored, judge_each
from archon.graph.prompts.builder import Prompt
from archon.graph.prompts.listing import is_long, shortened, without_surrogates
from archon.lm.concurrency import run_all
from archon.types import Candidate, Completion, Message

GRADES = tuple("123456789")
"""The possible grades. Each is a single token in the vocabularies of all supported models."""
YES, NO = "Yes", "No"

MIN_MASS = 0.1
"""Minimum of P(yes) + P(no). Below it, the scorer abstains, because other replies are likelier."""

NOT_JUDGED = Scored(0.0, abstains=True)
"""The score of a candidate that no model is asked about (``Prompt.judged``)."""


class Scorer(Protocol):
    """A function that returns a score for each candidate."""

    async def __call__(
        self, context: NodeContext, candidates: Sequence[Candidate]
    ) -> list[Scored]: ...


class ExpectedGrade:
    """Scorer by the expected grade, from 1 to 9 and scaled to [0, 1]; one call per candidate.

    The expected grade is Σ P(grade) · grade, where P is the model's distribution over the grades,
    normalized to a sum of 1 (G-Eval, Liu et al., arXiv 2303.16634). Candidates that are not judged
    score 0. If all grades have a probability of 0, the score is 0.5.
    """

    def __init__(self, prompt: Prompt, use_critiques: bool | None) -> None:
        self._prompt, self._use_critiques = prompt, use_critiques

    async def __call__(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Scored]:
        async def score(candidate: Candidate) -> Scored:
            messages = self._prompt.messages(context.question, [candidate], self._use_critiques)
            return Scored(_expected_grade(await score_choices(context, messages, GRADES)))

        return await judge_each(self._prompt, context, candidates, score, NOT_JUDGED)


class ProbabilityOfYes:
    """Scorer by the probability of the reply "Yes"; one call per candidate.

    The score is P(yes) / (P(yes) + P(no)). The scorer abstains if P(yes) + P(no) is below
    ``MIN_MASS``. Candidates that are not judged score 0.
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
    """Scorer by the likelihood of a text under the model that wrote it.

    The score is the geometric mean of the text's token probabilities. These came with the text, so
    no model is asked. A text without them scores 0.
    """

    async def __call__(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Scored]:
        return [Scored(own_likelihood(candidate) or 0.0) for candidate in candidates]


class Likelihood:
    """Scorer by the likelihood of a text as a reply of the node's model; one call per candidate.

    The score is the geometric mean of the text's token probabilities. A text that is empty or too
    long for a prompt scores 0. Scoring only a part of a long text would be misleading, because
    repetitive text has a high probability.
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
    """Scorer by a reward model's reward of the text, which for cards is a probability.

    The text is rated as a reply to the node's prompt or, with the ``conversation`` template, to the
    messages that the text's writer read. If the writer is the same model, it has those messages in
    its cache. There is one call for each different prompt. Long texts are not shortened, to match
    the reward model's training.
    """

    def __init__(self, prompt: Prompt) -> None:
        self._prompt = prompt

    async def __call__(self, context: NodeContext, candidates: Sequence[Candidate]) -> list[Scored]:
        asked = self._prompt.messages(context.question)
        answering: dict[tuple[Message, ...], list[int]] = {}
        for i, candidate in enumerate(candidates):
            own = candidate.messages if self._prompt.is_conversation else ()
            answering.setdefault(own or asked, []).append(i)
        texts = [without_surrogates(candidate.text) for candidate in candidates]
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
    """Return choice → its log-probability as the model's reply.

    Raises
    ------
    LMError
        The model did not return a log-probability for each choice.
    """
    return _logprobs(await context.ask(messages, choices=choices), choices)


def share(logprob: float, other: float) -> float:
    """Return p / (p + q), given the logarithms of p and q; 0.5 if both p and q are 0."""
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
