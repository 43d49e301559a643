"""What a configuration says is asked, and who judges the replies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from archon.answers import read_answer
from archon.errors import SpecError
from archon.evals.benchmarks import load_items
from archon.evals.scorers import KINDS, SCORERS, find_scorer
from archon.graph.exemplars import load_pool
from archon.lm.factory import capabilities
from archon.lm.lazy import shared_lm
from archon.spec.messages import shown, suggestion
from archon.spec.reader import load_benchmark, load_model_card
from archon.spec.training import BenchmarkData, GRPOSpec, ModelReward, PPOSpec, ScorerReward
from archon.train.rl.rewards import RewardFunction, by_model, by_scorer
from archon.train.texts import dialogues
from archon.types import Question

RLSpec = GRPOSpec | PPOSpec
Asked = tuple[Question, str | None]
"""A question, and the target of its answer where one is known."""


def questions(spec: RLSpec, base_dir: Path) -> Iterator[Asked]:
    """What is asked; of a benchmark, its search split alone.

    A completion that stands beside a prompt states the target: where a scorer judges, it is read
    as the scorer reads an answer.

    Raises
    ------
    SpecError : the data is missing or of another form, or states no target for the scorer.
    """
    if isinstance(spec.data, BenchmarkData):
        loaded = load_benchmark(spec.data.benchmark, base_dir)
        card = loaded.spec
        pool = None if card.examples is None else load_pool(card.examples, loaded.base_dir)
        for item in load_items(card, loaded.base_dir, "search"):
            yield Question(item.question, answer=card.answer, examples=pool), item.target
        return
    kind = KINDS.get(spec.reward.score) if isinstance(spec.reward, ScorerReward) else None
    for dialogue in dialogues(spec.data, base_dir, asked_alone=True):
        *before, last = dialogue.messages
        target = dialogue.completion or None
        if kind is not None:
            target = read_answer(dialogue.completion, kind)
            if target is None:
                raise SpecError(f"the completion states no {kind}", file=dialogue.place)
        yield Question(last.content, tuple(before)), target


def reward_of(spec: RLSpec, base_dir: Path) -> RewardFunction:
    """Who judges: a scorer, by default the benchmark's own, or a reward model, opened here.

    Raises
    ------
    SpecError : nothing says how, or there is no such scorer, or the model scores no texts.
    ModelError : the reward model cannot be had or run.
    """
    reward = spec.reward
    if isinstance(reward, ModelReward):
        loaded = load_model_card(reward.model, base_dir)
        if "reward" not in capabilities(loaded.spec):
            reason = f"{shown(reward.model)} is no reward model"
            raise SpecError(reason, path="$.reward.model")
        lm = shared_lm(loaded.spec, loaded.base_dir)
        lm.open()
        return by_model(lm)
    if isinstance(spec.data, BenchmarkData):
        card = load_benchmark(spec.data.benchmark, base_dir)
        name = None if reward is None else reward.score
        return by_scorer(find_scorer(card.spec, card.file, name))
    if reward is None:
        raise SpecError(
            "must say how replies are judged: {'score': …} or {'model': …}", path="$.reward"
        )
    if reward.score not in SCORERS:
        hint = suggestion(reward.score, SCORERS)
        raise SpecError(f"there is no scorer {shown(reward.score)}{hint}", path="$.reward.score")
    return by_scorer(SCORERS[reward.score])
