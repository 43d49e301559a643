"""What a configuration asks for, made ready: policy, tasks, reward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from archon.engine.model.loading import load_engine
from archon.errors import GraphError, LMError, SpecError
from archon.graph.architecture import BARE_PROMPT, generator_prompt
from archon.graph.exemplars import with_absolute_pool
from archon.graph.prompts.builder import Prompt
from archon.graph.prompts.templates import GENERATOR
from archon.lm.local.reasoning import ReasoningRules
from archon.reasoning import ReasoningMarkers
from archon.spec.common import PromptSpec
from archon.spec.messages import shown
from archon.spec.model import LocalCard
from archon.spec.training import BenchmarkData, ModelReward
from archon.train.base import Base, Card, open_base
from archon.train.decoder import TrainableDecoder
from archon.train.folder import MODEL
from archon.train.rl.questions import RLSpec, benchmark_of, questions, reward_of
from archon.train.rl.rewards import RewardFunction, Task
from archon.train.rl.rollouts import OPTIONS, AdaptedPolicy, Policy, WholePolicy
from archon.train.splits import hold_out
from archon.weights import cache_dir, identity


@dataclass(frozen=True)
class PreparedRL:
    """Everything that learning from rewards starts from."""

    model: TrainableDecoder
    policy: Policy
    """The same, for an engine to draw from."""
    tasks: list[Task]
    held_out: list[Task]
    num_too_long: int
    """Questions that are left out, as they and a reply do not fit."""
    reward: RewardFunction
    decode: Callable[[tuple[int, ...]], str]
    """Tokens → text; control tokens that are markers of reasoning are written out."""
    reasoning_markers: tuple[ReasoningMarkers, ...]
    stop_ids: frozenset[int]
    save: Callable[[Path], Card]
    """Writes what was trained into a folder, and returns the card that runs it."""


def prepare_reinforcement(
    spec: RLSpec,
    card: LocalCard,
    base_dir: Path,
    card_dir: Path,
    device: torch.device,
    reward: RewardFunction | None = None,
) -> PreparedRL:
    """Load a card's model, the questions and what judges the replies.

    Parameters
    ----------
    base_dir, card_dir : where relative paths in the configuration and in the card start.
    reward : a function of the caller's own, in the place of the configuration's.

    Raises
    ------
    SpecError : the data is missing or of another form, or nothing says how replies are judged, or
        they are programs and a scorer is to judge them.
    ModelError : weights cannot be had or run.
    UsageError : the model is none that writes, or the benchmark's scorer is not to be had.
    """
    base = open_base(card, card_dir)
    benchmark = benchmark_of(spec, base_dir)
    is_scored = reward is None and not isinstance(spec.reward, ModelReward)
    reward = reward or reward_of(spec, base_dir, benchmark)
    prompt_spec = _prompt_of(spec, card, base_dir, card_dir)
    try:
        prompt = Prompt(prompt_spec, GENERATOR, reads_candidates=False)
        if is_scored and prompt.asks_for_program:
            raise GraphError(
                f"the template {shown(prompt_spec.template)} asks for a program, which nothing "
                "runs here: a scorer would judge the last number of its source; choose another"
            )
        found = [
            Task(
                question,
                messages := prompt.messages(question),
                tuple(base.chat.encode(messages, base.template_variables)),
                target,
            )
            for question, target in questions(spec, base_dir, benchmark)
        ]
    except GraphError as error:
        raise SpecError(error.reason, path="$.prompt") from None
    except LMError as error:  # the model's chat template refuses such messages
        raise SpecError(str(error), path="$.prompt") from None
    model = base.trainable(spec, device)
    most = min(spec.context + 1, card.context or model.config.context_length)
    tasks = [task for task in found if len(task.prompt_ids) + spec.max_tokens <= most]
    learnt, held_out = hold_out(tasks, spec.held_out, spec.seed, lambda task: task.messages)
    if not learnt:
        raise SpecError(
            f"there are {len(found)} questions, of which {len(found) - len(tasks)} do not fit "
            f"{most} tokens with a reply of {spec.max_tokens}, and {spec.held_out} are held out: "
            "none is left to learn from"
        )

    def save(folder: Path) -> Card:
        made = base.save(model, spec, folder, _card(spec))
        return made | {"prompt": prompt_spec.model_dump(mode="json", exclude_none=True)}

    reasoning = ReasoningRules(card.markers(), base.tokenizer, base.chat.template)
    return PreparedRL(
        model,
        _policy(base, model, spec, device),
        learnt,
        held_out,
        len(found) - len(tasks),
        reward,
        reasoning.decode,
        reasoning.markers,
        base.tokenizer.stop_ids,
        save,
    )


def _prompt_of(spec: RLSpec, card: LocalCard, base_dir: Path, card_dir: Path) -> PromptSpec:
    """How the model is asked, now and by the card that is made, which lies in another folder."""
    asks_benchmark = isinstance(spec.data, BenchmarkData)
    if spec.prompt is None:
        found = generator_prompt(None, card) if asks_benchmark else BARE_PROMPT
        return with_absolute_pool(found, card_dir)
    found = generator_prompt(spec.prompt, card) if asks_benchmark else spec.prompt
    return with_absolute_pool(found, base_dir)


def _policy(base: Base, model: TrainableDecoder, spec: RLSpec, device: torch.device) -> Policy:
    if not base.trains_adapter(spec):
        precision = spec.rollout_precision or "float32"
        return WholePolicy(model, precision, device, cache_dir(), base.card.context)
    engine = load_engine(
        base.file,
        spec.rollout_precision or base.card.precision,
        model_id=identity(base.card, base.file.path),
        device=str(device),
        options=OPTIONS,
        context_length=base.card.context,
        keep_in=cache_dir(),
    )
    return AdaptedPolicy(model, engine, base.source)


def _card(spec: RLSpec) -> Card:
    return {
        "version": 1,
        "name": spec.name,
        "description": spec.description,
        "backend": "local",
        "sampling": {"max_tokens": spec.max_tokens},
        "sources": [{"path": MODEL}],
    }
