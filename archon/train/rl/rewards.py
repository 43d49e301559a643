"""What a reply is worth: by a benchmark's scorer, by a reward model, by any function."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from archon.errors import ScoringError
from archon.evals.scorers import Scorer
from archon.graph.event_loop import run_sync
from archon.graph.prompts.builder import Prompt
from archon.lm.reward import RewardModel
from archon.types import Message, Question


@dataclass(frozen=True, slots=True)
class Task:
    """One question that replies are drawn to."""

    question: Question
    messages: tuple[Message, ...]
    """What is read before a reply is drawn: the question as the prompt words it."""
    prompt_ids: tuple[int, ...]
    target: str | None
    """The right answer, where one is known."""


RewardFunction = Callable[[Task, Sequence[str]], Sequence[float]]
"""(task, replies to it) → a reward for each; higher is better."""


def by_scorer(scorer: Scorer) -> RewardFunction:
    """The score that a benchmark's scorer gives a reply: 1 if it is right."""

    def reward(task: Task, texts: Sequence[str]) -> list[float]:
        assert task.target is not None, "tasks for a scorer have targets"
        return [float(scorer(None, text, task.target).value) for text in texts]

    return reward


def by_model(model: RewardModel, prompt: Prompt) -> RewardFunction:
    """What a reward model says of each reply.

    Parameters
    ----------
    prompt : how it is asked; by the template ``conversation`` it reads what the policy read.
    """

    def reward(task: Task, texts: Sequence[str]) -> list[float]:
        asked = task.messages if prompt.is_conversation else prompt.messages(task.question)
        return run_sync(model.score(asked, texts))

    return reward


def rewards_of(reward: RewardFunction, task: Task, texts: Sequence[str]) -> list[float]:
    """The rewards of the replies to one task.

    Raises
    ------
    ScoringError : the function gave something other than one finite number a text.
    """
    found = [float(value) for value in reward(task, texts)]
    if len(found) != len(texts) or not all(map(math.isfinite, found)):
        raise ScoringError(
            f"the reward gave {found[:5]} for {len(texts)} replies, not a finite number for each"
        )
    return found
