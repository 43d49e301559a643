"""What a configuration asks for, made ready: policy, tasks, reward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch

from archon.engine.loading import load_engine
from archon.errors import GraphError, SpecError
from archon.graph.architecture import BARE_PROMPT, generator_prompt
from archon.graph.prompts.builder import Prompt
from archon.spec.model import LocalCard
from archon.spec.training import BenchmarkData
from archon.train.base import Base, Card, open_base
from archon.train.decoder import TrainableDecoder
from archon.train.folder import MODEL
from archon.train.rl.questions import RLSpec, questions, reward_of
from archon.train.rl.rewards import RewardFunction, Task
from archon.train.rl.rollouts import OPTIONS, AdaptedPolicy, Policy, WholePolicy
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
    SpecError : the data is missing or of another form, or nothing says how replies are judged.
    ModelError : weights cannot be had or run.
    UsageError : the model is none that writes, or the benchmark's scorer is not to be had.
    """
    base = open_base(card, card_dir)
    reward = reward or reward_of(spec, base_dir)
    prompt_spec = spec.prompt or BARE_PROMPT
    if isinstance(spec.data, BenchmarkData):
        prompt_spec = generator_prompt(spec.prompt, card)
    try:
        prompt = Prompt(prompt_spec, "generator", reads_candidates=False, base_dir=base_dir)
        found = [
            Task(messages := prompt.messages(question), tuple(base.chat.encode(messages)), target)
            for question, target in questions(spec, base_dir)
        ]
    except GraphError as error:
        raise SpecError(error.reason, path="$.prompt") from None
    model = base.trainable(spec).to(device)
    most = min(spec.context + 1, card.context or model.config.context_length)
    tasks = [task for task in found if len(task.prompt_ids) + spec.max_tokens <= most]
    if len(tasks) <= spec.held_out:
        raise SpecError(
            f"there are {len(found)} questions, of which {len(found) - len(tasks)} do not fit "
            f"{most} tokens with a reply of {spec.max_tokens}, and {spec.held_out} are held out: "
            "none is left to learn from"
        )
    Random(f"held out/{spec.seed}").shuffle(tasks)

    def save(folder: Path) -> Card:
        made = base.save(model, spec, folder, _card(spec))
        return made | {"prompt": prompt_spec.model_dump(mode="json", exclude_none=True)}

    return PreparedRL(
        model,
        _policy(base, model, spec, device),
        tasks[spec.held_out :],
        tasks[: spec.held_out],
        len(found) - len(tasks),
        reward,
        base.tokenizer.decode,
        base.tokenizer.stop_ids,
        save,
    )


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
