"""Tasks for reinforcement learning: questions in the policy's prompt, with target answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from archon.answers import read_target
from archon.errors import GraphError, LMError, SpecError
from archon.evals.benchmarks.opening import Benchmark, open_benchmark
from archon.evals.scorers import KINDS
from archon.graph.architecture import BARE_PROMPT, generator_prompt
from archon.graph.exemplars import with_absolute_pool
from archon.graph.prompts.builder import Prompt
from archon.graph.prompts.templates import GENERATOR
from archon.spec.common import PromptSpec
from archon.spec.messages import shown
from archon.spec.model import LocalCard
from archon.spec.reader import load_benchmark
from archon.spec.training import BenchmarkData, GRPOSpec, PPOSpec, ScorerReward
from archon.train.base_model import Base
from archon.train.sft_data import dialogues
from archon.types import Message, Question

RLSpec = GRPOSpec | PPOSpec


@dataclass(frozen=True, slots=True)
class RLTask:
    """A question to which replies are sampled."""

    question: Question
    messages: tuple[Message, ...]
    """Messages that the policy reads, which are the prompt with the question."""
    prompt_ids: tuple[int, ...]
    target: str | None
    """Right answer; None if it is unknown."""


def benchmark_of(spec: RLSpec, base_dir: Path) -> Benchmark | None:
    """Open the search split of the configuration's benchmark; return None for other data.

    The benchmark must be a card, since a configuration cannot run a Python function.

    Raises
    ------
    SpecError
        The benchmark's card is missing or malformed.
    UsageError
        The scorer is unknown.
    """
    if not isinstance(spec.data, BenchmarkData):
        return None
    scorer = spec.reward.score if isinstance(spec.reward, ScorerReward) else None
    loaded = load_benchmark(spec.data.benchmark, base_dir)
    return open_benchmark(loaded, split="search", scorer=scorer)


def prompt_of(spec: RLSpec, card: LocalCard, base_dir: Path, card_dir: Path) -> PromptSpec:
    """Return the policy's prompt, with absolute paths; the trained model's card contains it, too.

    Parameters
    ----------
    base_dir, card_dir
        Folders to which paths in the configuration and in the card, respectively, are relative.
    """
    prompt = spec.prompt or BARE_PROMPT
    if isinstance(spec.data, BenchmarkData):
        prompt = generator_prompt(spec.prompt, card)
    return with_absolute_pool(prompt, base_dir if spec.prompt else card_dir)


def load_tasks(
    spec: RLSpec,
    base_dir: Path,
    benchmark: Benchmark | None,
    base: Base,
    prompt_spec: PromptSpec,
    *,
    is_scored: bool,
) -> list[RLTask]:
    """Return a task for each item of the benchmark, or for each question of a file or a rule.

    Parameters
    ----------
    prompt_spec
        See ``prompt_of``.
    is_scored
        Whether a scorer judges the replies. If so, they cannot be programs.

    Raises
    ------
    SpecError
        The data is missing or malformed, or contains no target for the scorer. Or the prompt is
        unsuitable for the questions, the scorer or the model's chat template.
    """
    try:
        prompt = Prompt(prompt_spec, GENERATOR, reads_candidates=False)
        if is_scored and prompt.asks_for_program:
            raise GraphError(
                f"the {shown(prompt_spec.template)} template asks for a program, but programs are "
                "not run in training, so a scorer would judge the program's source; choose another "
                "template"
            )
        tasks = []
        for question, target in _questions(spec, base_dir, benchmark):
            messages = prompt.messages(question)
            prompt_ids = tuple(base.chat.encode(messages, base.template_variables))
            tasks.append(RLTask(question, messages, prompt_ids, target))
        return tasks
    except GraphError as error:
        raise SpecError(error.reason, path="$.prompt") from None
    except LMError as error:  # the model's chat template rejects the messages
        raise SpecError(str(error), path="$.prompt") from None


def _questions(
    spec: RLSpec, base_dir: Path, benchmark: Benchmark | None
) -> Iterator[tuple[Question, str | None]]:
    """Yield questions with their targets.

    The target of a dialogue is its completion. If a scorer judges the replies, the target is the
    answer in the completion.
    """
    if benchmark is not None:
        answer = benchmark.selection.card.answer
        ending = benchmark.selection.card.ending
        for item in benchmark.items:
            question = Question(
                item.question, answer=answer, examples=benchmark.examples, ending=ending
            )
            yield question, item.target
        return
    assert not isinstance(spec.data, BenchmarkData)
    kind = KINDS.get(spec.reward.score) if isinstance(spec.reward, ScorerReward) else None
    for dialogue in dialogues(spec.data, base_dir, allow_prompts=True):
        *before, last = dialogue.messages
        target = dialogue.completion or None
        if kind is not None:
            target = read_target(dialogue.completion, kind)
            if target is None:
                hint = "; end it with 'The answer is N.', or write only the number"
                reason = f"the completion contains no {kind}{hint if kind == 'number' else ''}"
                raise SpecError(reason, file=dialogue.place)
        yield Question(last.content, tuple(before)), target
