"""Compute rewards of replies with a benchmark's scorer, a reward model, or a custom function."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from archon.errors import GraphError, ScoringError, SpecError, UsageError
from archon.evals.benchmarks.opening import Benchmark
from archon.evals.scorers import Attempt, Scorer, plain_scorer
from archon.graph.architecture import generator_prompt
from archon.graph.event_loop import run_sync
from archon.graph.prompts.builder import Prompt
from archon.graph.prompts.templates import RANKER_REWARD
from archon.lm.factory import capabilities
from archon.lm.lazy import shared_lm
from archon.lm.reward import RewardModel
from archon.spec.messages import shown
from archon.spec.reader import load_model_card
from archon.spec.training import ModelReward
from archon.train.rl.tasks import RLSpec, RLTask

RewardFunction = Callable[[RLTask, Sequence[str]], Sequence[float]]
"""Function that maps a task and its replies to one reward per reply; higher is better."""


def reward_of(spec: RLSpec, base_dir: Path, benchmark: Benchmark | None) -> RewardFunction:
    """Return a configuration's reward function, which uses a scorer or a reward model.

    The default is the benchmark's scorer.

    Raises
    ------
    SpecError
        The configuration has no reward. Or it names an unknown scorer, or a model that is not a
        reward model.
    ModelError
        The reward model is unavailable or cannot be run.
    """
    reward = spec.reward
    if isinstance(reward, ModelReward):
        return _model_reward(reward, base_dir, benchmark)
    if benchmark is not None:
        return by_scorer(benchmark.scorer)
    if reward is None:
        raise SpecError(
            "required; set it to {'score': SCORER} or {'model': CARD}, where CARD is the card of "
            "a reward model",
            path="$.reward",
        )
    try:
        return by_scorer(plain_scorer(reward.score))
    except UsageError as error:
        raise SpecError(str(error), path="$.reward.score") from None


def _model_reward(
    reward: ModelReward, base_dir: Path, benchmark: Benchmark | None
) -> RewardFunction:
    """Open a reward model, and return a reward function that uses it.

    The reward model reads the same prompt that a ranker node without a ``prompt`` key sends.
    """
    loaded = load_model_card(reward.model, base_dir)
    if "reward" not in capabilities(loaded.spec):
        raise SpecError(f"{shown(reward.model)} is not a reward model", path="$.reward.model")
    spec = generator_prompt(None, loaded.spec)
    try:
        prompt = Prompt(spec, RANKER_REWARD, reads_candidates=True, base_dir=loaded.base_dir)
        prompt.check_shots(None if benchmark is None else benchmark.examples)
    except GraphError as error:
        raise SpecError(error.reason, file=loaded.file, path="$.prompt") from None
    lm = shared_lm(loaded.spec, loaded.base_dir)
    lm.open()
    return by_model(lm, prompt)


def by_scorer(scorer: Scorer) -> RewardFunction:
    """Return a reward function that uses a scorer: 1 for a right answer, otherwise 0."""

    def reward(task: RLTask, texts: Sequence[str]) -> list[float]:
        assert task.target is not None, "tasks for a scorer have targets"
        attempts = [Attempt(text, task.target) for text in texts]
        if scorer.type.is_async:
            return run_sync(_scores(scorer, attempts))
        return [float(scorer(None, each.text, each.target).value) for each in attempts]

    return reward


async def _scores(scorer: Scorer, attempts: Sequence[Attempt]) -> list[float]:
    return [float((await scorer.score(attempt)).value) for attempt in attempts]


def by_model(model: RewardModel, prompt: Prompt) -> RewardFunction:
    """Return a reward function that uses a reward model.

    Parameters
    ----------
    prompt
        Prompt of the reward model. With the ``conversation`` template, it reads the same messages
        as the policy.
    """

    def reward(task: RLTask, texts: Sequence[str]) -> list[float]:
        messages = task.messages if prompt.is_conversation else prompt.messages(task.question)
        return run_sync(model.score(messages, texts))

    return reward


def rewards_of(reward: RewardFunction, task: RLTask, texts: Sequence[str]) -> list[float]:
    """Compute the rewards of the replies to one task.

    Raises
    ------
    ScoringError
        The function did not return one finite number per reply.
    """
    found = [float(value) for value in reward(task, texts)]
    if len(found) != len(texts) or not all(map(math.isfinite, found)):
        raise ScoringError(
            f"the reward function returned {found[:5]} for {len(texts)} replies; it must return "
            "one finite number per reply"
        )
    return found
