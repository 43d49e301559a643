"""Tasks of reinforcement learning: questions as the policy reads them, with their targets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from archon.answers import read_target
from archon.errors import SpecError
from archon.evals.benchmarks.opening import Benchmark, open_benchmark
from archon.evals.scorers import KINDS
from archon.graph.architecture import BARE_PROMPT, generator_prompt
from archon.graph.exemplars import with_absolute_pool
from archon.graph.prompts.builder import Prompt
from archon.spec.common import PromptSpec
from archon.spec.model import LocalCard
from archon.spec.reader import load_benchmark
from archon.spec.training import BenchmarkData, GRPOSpec, PPOSpec, ScorerReward
from archon.train.base_model import Base
from archon.train.sft_data import dialogues
from archon.types import Message, Question

RLSpec = GRPOSpec | PPOSpec


@dataclass(frozen=True, slots=True)
class RLTask:
    """One question that replies are sampled for."""

    question: Question
    messages: tuple[Message, ...]
    """What the policy reads: the question as the prompt words it."""
    prompt_ids: tuple[int, ...]
    target: str | None
    """The right answer, where one is known."""


def benchmark_of(spec: RLSpec, base_dir: Path) -> Benchmark | None:
    """The search split of the benchmark that is asked, and its scorer; None for other questions.

    Only a card can be named, so that no file names code that is then run.

    Raises
    ------
    SpecError
        The benchmark is missing or wrong.
    UsageError
        There is no such scorer.
    """
    if not isinstance(spec.data, BenchmarkData):
        return None
    scorer = spec.reward.score if isinstance(spec.reward, ScorerReward) else None
    loaded = load_benchmark(spec.data.benchmark, base_dir)
    return open_benchmark(loaded, split="search", scorer=scorer)


def prompt_of(spec: RLSpec, card: LocalCard, base_dir: Path, card_dir: Path) -> PromptSpec:
    """How the model is asked, now and by the card that is written, which is in another folder."""
    asks_benchmark = isinstance(spec.data, BenchmarkData)
    if spec.prompt is None:
        found = generator_prompt(None, card) if asks_benchmark else BARE_PROMPT
        return with_absolute_pool(found, card_dir)
    found = generator_prompt(spec.prompt, card) if asks_benchmark else spec.prompt
    return with_absolute_pool(found, base_dir)


def load_tasks(
    spec: RLSpec, base_dir: Path, benchmark: Benchmark | None, prompt: Prompt, base: Base
) -> list[RLTask]:
    """The benchmark's items, or the questions of a file or a rule, as the policy reads them.

    Raises
    ------
    SpecError
        The data is missing or malformed, or states no target for the scorer.
    GraphError
        The prompt cannot word a question.
    LMError
        The model's chat template rejects the messages.
    """
    tasks = []
    for question, target in _questions(spec, base_dir, benchmark):
        messages = prompt.messages(question)
        prompt_ids = tuple(base.chat.encode(messages, base.template_variables))
        tasks.append(RLTask(question, messages, prompt_ids, target))
    return tasks


def _questions(
    spec: RLSpec, base_dir: Path, benchmark: Benchmark | None
) -> Iterator[tuple[Question, str | None]]:
    """Questions, each with the target of its answer where one is known.

    The completion of a prompt states the target. For a scorer, the target is the value that the
    completion is or states as its answer.
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
