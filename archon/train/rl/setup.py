"""Set-up of reinforcement learning: policy, tasks and reward of a configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from archon.engine.loading import load_engine
from archon.errors import GraphError, LMError, SpecError
from archon.evals.benchmarks.opening import Benchmark
from archon.graph.prompts.builder import Prompt
from archon.graph.prompts.templates import GENERATOR
from archon.lm.local.reasoning_constraint import ReasoningRules
from archon.reasoning import ReasoningMarkers
from archon.spec.common import PromptSpec
from archon.spec.messages import shown
from archon.spec.model import LocalCard
from archon.spec.training import ModelReward
from archon.train.base_model import Base, Card, open_base
from archon.train.decoder import TrainableDecoder
from archon.train.folder import MODEL
from archon.train.rl.rewards import RewardFunction, reward_of
from archon.train.rl.rollouts import OPTIONS, AdaptedPolicy, Policy, WholePolicy
from archon.train.rl.tasks import RLSpec, RLTask, benchmark_of, load_tasks, prompt_of
from archon.train.splits import hold_out
from archon.weights import cache_dir, identity


@dataclass(frozen=True)
class RLSetup:
    """Everything that reinforcement learning starts from."""

    model: TrainableDecoder
    policy: Policy
    """The same model, for an engine to sample from."""
    tasks: list[RLTask]
    held_out: list[RLTask]
    num_too_long: int
    """Questions that are left out because they do not fit with a reply."""
    reward: RewardFunction
    decode: Callable[[tuple[int, ...]], str]
    """Tokens → text, with the control tokens that mark reasoning."""
    reasoning_markers: tuple[ReasoningMarkers, ...]
    stop_ids: frozenset[int]
    save: Callable[[Path], Card]
    """Writes the trained model into a folder; returns the card that runs it."""


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
        Where relative paths in the configuration and in the card start.
    reward
        A custom function that replaces the configuration's reward.

    Raises
    ------
    SpecError
        The data is missing or malformed, no reward is named, or a scorer is to judge programs.
    ModelError
        Weights are unavailable or cannot be run.
    UsageError
        The model generates no text, or the benchmark's scorer is unavailable.
    """
    base = open_base(card, card_dir)
    benchmark = benchmark_of(spec, base_dir)
    is_scored = reward is None and not isinstance(spec.reward, ModelReward)
    reward = reward or reward_of(spec, base_dir, benchmark)
    prompt_spec = prompt_of(spec, card, base_dir, card_dir)
    found = _tasks(spec, base_dir, benchmark, base, prompt_spec, is_scored=is_scored)
    model = base.trainable(spec, device)
    most = min(spec.context + 1, card.context or model.config.context_length)
    tasks = [task for task in found if len(task.prompt_ids) + spec.max_tokens <= most]
    learned, held_out = hold_out(tasks, spec.held_out, spec.seed, lambda task: task.messages)
    if not learned:
        raise SpecError(
            f"there are {len(found)} questions, of which {len(found) - len(tasks)} do not fit "
            f"{most} tokens with a reply of {spec.max_tokens}, and {spec.held_out} are held out: "
            "none is left to learn from"
        )

    def save(folder: Path) -> Card:
        made = base.save(model, spec, folder, _card(spec))
        return made | {"prompt": prompt_spec.model_dump(mode="json", exclude_none=True)}

    reasoning = ReasoningRules(card.markers(), base.tokenizer, base.chat.template)
    return RLSetup(
        model,
        _policy(base, model, spec, device),
        learned,
        held_out,
        len(found) - len(tasks),
        reward,
        reasoning.decode,
        reasoning.markers,
        base.tokenizer.stop_ids,
        save,
    )


def _tasks(
    spec: RLSpec,
    base_dir: Path,
    benchmark: Benchmark | None,
    base: Base,
    prompt_spec: PromptSpec,
    *,
    is_scored: bool,
) -> list[RLTask]:
    """All tasks; errors of the prompt name its place in the configuration."""
    try:
        prompt = Prompt(prompt_spec, GENERATOR, reads_candidates=False)
        if is_scored and prompt.asks_for_program:
            raise GraphError(
                f"the template {shown(prompt_spec.template)} asks for a program, which nothing "
                "runs here: a scorer would judge the last number of its source; choose another"
            )
        return load_tasks(spec, base_dir, benchmark, prompt, base)
    except GraphError as error:
        raise SpecError(error.reason, path="$.prompt") from None
    except LMError as error:  # the model's chat template rejects such messages
        raise SpecError(str(error), path="$.prompt") from None


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
