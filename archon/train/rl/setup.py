"""Set up reinforcement learning: load the policy, tasks and reward of a configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from archon.engine.loading import load_engine
from archon.errors import SpecError
from archon.lm.local.reasoning_constraint import ReasoningRules
from archon.spec.model import LocalCard
from archon.spec.training import ModelReward
from archon.train.base_model import Base, open_base
from archon.train.decoder import TrainableDecoder
from archon.train.folder import Card, new_card
from archon.train.rl.rewards import RewardFunction, reward_of
from archon.train.rl.rollouts import OPTIONS, AdaptedPolicy, FullPolicy, Policy
from archon.train.rl.tasks import RLSpec, RLTask, benchmark_of, load_tasks, prompt_of
from archon.train.splits import hold_out
from archon.weights import cache_dir, identity


@dataclass(frozen=True)
class RLSetup:
    """The loaded parts of a reinforcement learning run."""

    model: TrainableDecoder
    policy: Policy
    """Provides engines with the current weights, which sample the replies."""
    tasks: list[RLTask]
    held_out: list[RLTask]
    num_too_long: int
    """Number of questions that are excluded because question and reply do not fit in a row."""
    reward: RewardFunction
    reasoning: ReasoningRules
    """Markers of the model's reasoning, and a function ``decode`` that keeps them in the text."""
    stop_ids: frozenset[int]
    save: Callable[[Path], Card]
    """Function that writes the trained model to a folder and returns its model card."""


def set_up(
    spec: RLSpec,
    card: LocalCard,
    base_dir: Path,
    card_dir: Path,
    device: torch.device,
    reward: RewardFunction | None = None,
) -> RLSetup:
    """Load a card's model, the tasks and the reward.

    Parameters
    ----------
    base_dir, card_dir
        Folders to which paths in the configuration and in the card, respectively, are relative.
    reward
        Custom reward function, which replaces the configuration's reward.

    Raises
    ------
    SpecError
        The data is missing or malformed. Or no reward is configured, or a scorer would judge
        programs.
    ModelError
        The weights are unavailable or cannot be run.
    UsageError
        The model does not generate text, or the benchmark's scorer is unavailable.
    """
    base = open_base(card, card_dir)
    benchmark = benchmark_of(spec, base_dir)
    is_scored = reward is None and not isinstance(spec.reward, ModelReward)
    reward = reward or reward_of(spec, base_dir, benchmark)
    prompt_spec = prompt_of(spec, card, base_dir, card_dir)
    found = load_tasks(spec, base_dir, benchmark, base, prompt_spec, is_scored=is_scored)
    model = base.trainable(spec, device)
    capacity = min(spec.context + 1, card.context or model.config.context_length)
    tasks = [task for task in found if len(task.prompt_ids) + spec.max_tokens <= capacity]
    learned, held_out = hold_out(tasks, spec.held_out, spec.seed, lambda task: task.messages)
    if not learned:
        raise SpecError(
            f"no questions are left for training: of {len(found)} questions, "
            f"{len(found) - len(tasks)} do not fit in {capacity} tokens with a reply of "
            f"{spec.max_tokens} tokens, and {spec.held_out} are held out; change 'context', "
            "'max_tokens' or 'held_out'"
        )

    def save(folder: Path) -> Card:
        new = new_card(spec, sampling={"max_tokens": spec.max_tokens})
        saved = base.save(model, spec, folder, new)
        return saved | {"prompt": prompt_spec.model_dump(mode="json", exclude_none=True)}

    return RLSetup(
        model,
        _policy(base, model, spec, device),
        learned,
        held_out,
        len(found) - len(tasks),
        reward,
        ReasoningRules(card.markers(), base.tokenizer, base.chat.template),
        base.tokenizer.stop_ids,
        save,
    )


def _policy(base: Base, model: TrainableDecoder, spec: RLSpec, device: torch.device) -> Policy:
    if not base.trains_adapter(spec):
        precision = spec.rollout_precision or "float32"
        return FullPolicy(model, precision, device, cache_dir(), base.card.context)
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
