"""What a configuration says is asked, and who judges the replies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from archon.answers import read_target
from archon.errors import GraphError, SpecError
from archon.evals.benchmarks.opening import Benchmark, open_benchmark
from archon.evals.scorers import KINDS, SCORERS
from archon.graph.architecture import generator_prompt
from archon.graph.prompts.builder import Prompt
from archon.graph.prompts.templates import RANKER_REWARD
from archon.lm.factory import capabilities
from archon.lm.lazy import shared_lm
from archon.spec.messages import shown, suggestion
from archon.spec.reader import load_benchmark, load_model_card
from archon.spec.training import BenchmarkData, GRPOSpec, ModelReward, PPOSpec, ScorerReward
from archon.train.rl.rewards import RewardFunction, by_model, by_scorer
from archon.train.sft_data import dialogues
from archon.types import Question

RLSpec = GRPOSpec | PPOSpec
Asked = tuple[Question, str | None]
"""A question, and the target of its answer where one is known."""


def benchmark_of(spec: RLSpec, base_dir: Path) -> Benchmark | None:
    """The search split of the benchmark that is asked, and the scorer that judges; None where
    other questions are asked.

    A card alone can be named: no file names code that is then run.

    Raises
    ------
    SpecError : the benchmark is missing or wrong.
    UsageError : there is no such scorer.
    """
    if not isinstance(spec.data, BenchmarkData):
        return None
    scorer = spec.reward.score if isinstance(spec.reward, ScorerReward) else None
    loaded = load_benchmark(spec.data.benchmark, base_dir)
    return open_benchmark(loaded, split="search", scorer=scorer)


def questions(spec: RLSpec, base_dir: Path, benchmark: Benchmark | None) -> Iterator[Asked]:
    """What is asked: the benchmark's items, or what a file or a rule holds.

    A completion that stands beside a prompt states the target: where a scorer judges, it is the
    value that the completion is or states as its answer.

    Raises
    ------
    SpecError : the data is missing or of another form, or states no target for the scorer.
    """
    if benchmark is not None:
        answer = benchmark.selection.card.answer
        for item in benchmark.items:
            yield Question(item.question, answer=answer, examples=benchmark.examples), item.target
        return
    assert not isinstance(spec.data, BenchmarkData)
    kind = KINDS.get(spec.reward.score) if isinstance(spec.reward, ScorerReward) else None
    for dialogue in dialogues(spec.data, base_dir, asked_alone=True):
        *before, last = dialogue.messages
        target = dialogue.completion or None
        if kind is not None:
            target = read_target(dialogue.completion, kind)
            if target is None:
                hint = "; end it with 'The answer is N.', or write the number alone"
                reason = f"the completion states no {kind}{hint if kind == 'number' else ''}"
                raise SpecError(reason, file=dialogue.place)
        yield Question(last.content, tuple(before)), target


def reward_of(spec: RLSpec, base_dir: Path, benchmark: Benchmark | None) -> RewardFunction:
    """Who judges: a scorer, by default the benchmark's own, or a reward model, opened here.

    Raises
    ------
    SpecError : nothing says how, or there is no such scorer, or the model scores no texts.
    ModelError : the reward model cannot be had or run.
    """
    reward = spec.reward
    if isinstance(reward, ModelReward):
        return _model_reward(reward, base_dir, benchmark)
    if benchmark is not None:
        return by_scorer(benchmark.scorer)
    if reward is None:
        raise SpecError(
            "must say how replies are judged: {'score': …} or {'model': …}", path="$.reward"
        )
    if reward.score not in SCORERS:
        hint = suggestion(reward.score, SCORERS)
        raise SpecError(f"there is no scorer {shown(reward.score)}{hint}", path="$.reward.score")
    return by_scorer(SCORERS[reward.score])


def _model_reward(
    reward: ModelReward, base_dir: Path, benchmark: Benchmark | None
) -> RewardFunction:
    """A reward model that is asked as by a ranker that says nothing itself."""
    loaded = load_model_card(reward.model, base_dir)
    if "reward" not in capabilities(loaded.spec):
        raise SpecError(f"{shown(reward.model)} is no reward model", path="$.reward.model")
    spec = generator_prompt(None, loaded.spec)
    try:
        prompt = Prompt(spec, RANKER_REWARD, reads_candidates=True, base_dir=loaded.base_dir)
        prompt.check_shots(None if benchmark is None else benchmark.examples)
    except GraphError as error:
        raise SpecError(error.reason, file=loaded.file, path="$.prompt") from None
    lm = shared_lm(loaded.spec, loaded.base_dir)
    lm.open()
    return by_model(lm, prompt)
